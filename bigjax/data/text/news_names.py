"""Owns the literal data of the embedded news corpus: real-world names and an English news grammar.

How sentences are drawn from it, and how the names are split over train, dev and test, belongs to
`news.py`. Every sentence that comes out is invented: the names are real, the news is not.

NAMES: lists of names, parted by blanks, "_" for a blank inside a name. Each name belongs to one of
the splits, so nothing here is shared between train and test.
WORDS: the same notation for plain words, shared by all splits.
RULES: for each symbol its productions, one a line, parted by blanks. `$symbol` is replaced by a
production of that symbol; `$symbol:1` repeats the names drawn by other symbols marked `:1` (so
`$person:1 ... $last:1` is one person); `#3-9` is a whole number; `^` capitalises the next word;
`^^` sets the words up to the next comma in capitals; `5 | ...` makes a production five times as
likely; every other token is a word.
ENTITIES: for each type the symbols whose whole expansion is one entity of it.
TOPICS: each has a rule of clauses, "X_headline", "X_quote" and "X_aside"; FORMS is written once
and serves every topic with its name in place of TOPIC.
"""

NAMES = {
    "given_m": """
        James John Robert Michael David Richard Thomas Daniel Matthew Anthony Steven Paul Andrew
        Kevin Brian George Edward Ronald Timothy Jeffrey Ryan Jacob Nicholas Eric Jonathan
        Stephen Larry Scott Brandon Benjamin Samuel Gregory Patrick Alexander Jack Dennis Peter
        Nathan Henry Douglas Zachary Adam Ethan Noah Liam Oliver Hugh Owen Callum Rhys Declan
        Fergus Sanjay Rajesh Arjun Vikram Amit Rahul Anil Suresh Imran Tariq Bilal Faisal Omar
        Yusuf Hassan Mustafa Mehmet Emre Karim Walid Khalil Mahmoud Hamza Ibrahim Moussa Kwame
        Kofi Chidi Emeka Tunde Sipho Thabo Jabulani Tendai Wei Jun Ming Haoran Kenji Hiroshi
        Takashi Daisuke Minho Jisung Nguyen Duc Somchai Budi Agus Carlos Juan Jose Luis Miguel
        Diego Pablo Javier Rafael Fernando Thiago Joao Pedro Matheus Bruno Giovanni Marco Luca
        Matteo Alessandro Pierre Jean-Pierre Jean-Luc Francois Antoine Laurent Mathieu Hans Klaus
        Jurgen Stefan Wolfgang Karl-Heinz Lars Sven Erik Bjorn Anders Mikko Juha Piotr Krzysztof
        Tomasz Jiri Vaclav Miroslav Goran Zoran Dragan Ivan Dmitri Sergei Vladislav Andrei
        Oleksandr Mykola Giorgi Levan Aram Tigran Yitzhak Moshe Dawit Haile""",
    "given_f": """
        Mary Patricia Jennifer Linda Elizabeth Barbara Susan Jessica Sarah Karen Lisa Margaret
        Sandra Ashley Kimberly Emily Donna Michelle Carol Amanda Melissa Deborah Stephanie
        Rebecca Laura Cynthia Kathleen Amy Angela Shirley Anna Brenda Pamela Emma Nicole Helen
        Samantha Katherine Christine Rachel Fiona Siobhan Niamh Bronwen Morag Ingrid Astrid
        Sigrid Freya Annika Kirsten Birgit Heike Gudrun Claudia Monika Agnieszka Katarzyna Zuzana
        Petra Ivana Jelena Milica Snezana Olga Tatiana Natalia Svetlana Oksana Irina Nino Anahit
        Fatima Aisha Khadija Zainab Leila Yasmin Noor Hanan Rania Shirin Parisa Elif Zeynep Priya
        Anjali Deepa Sunita Lakshmi Kavita Meera Mei Xiu Yuki Sakura Akiko Haruka Minji Soyeon
        Linh Thuy Siti Dewi Amara Ngozi Adaeze Folake Wanjiru Thandiwe Nomvula Abena Maria Carmen
        Lucia Isabel Pilar Ximena Guadalupe Beatriz Juliana Fernanda Giulia Chiara Francesca
        Paola Sylvie Camille Amelie Marie-Claire Anne-Sophie Mary-Ann Brigitte Odile Yael Tamar
        Ruth Miriam""",
    "given_word": """
        Will Mark Bill Grant Rose Hope Faith Grace Joy Art Frank Dean Ivy Lily Daisy Ruby Amber
        Pearl April June May Dawn Summer Autumn Holly Jade Olive Violet Chance Chase Drew Rob Pat
        Sue Bob Gene Max Miles Cliff Rusty Buck Basil Angel Melody Harmony Christian Duke Earl
        Guy Iris Jasmine Heather Penny Misty Sandy Robin Jay Hunter Mason Carter Reed Brook Clay
        Forest Glen Ray Woody Wade Pierce Victor Jewel Ginger Honey Merry Patience Constance
        Charity Felicity Prudence""",
    "given_place": """
        Chelsea Florence Sydney Charlotte Victoria Madison Orlando Dallas Milan Paris Nancy Sofia
        Adelaide Phoenix Santiago Austin Houston Carson Savannah Brooklyn Georgia Virginia
        Carolina Jordan Israel Chad India Preston Lincoln Jackson Logan Tyler Lourdes Dakota""",
    "surname": """
        Smith Johnson Williams Jones Davis Wilson Anderson Taylor Thompson Harris Robinson Walker
        Allen Wright Scott Adams Nelson Campbell Mitchell Roberts Phillips Evans Edwards Collins
        Stewart Morris Rogers Murphy Kelly Sanders Patterson Hughes Simmons Foster Henderson
        Coleman Jenkins Perry Griffin Hayes Bryant Gibson McDonald Crawford Kennedy Burns Shaw
        Dixon Ferguson Hawkins Duncan Armstrong Cunningham Bradley Andrews Elliott Lawson Watkins
        Chapman Gilbert Hanson Fletcher Whitaker Sutton Barrett Jensen Holloway Pemberton
        Ashworth Entwistle Hargreaves Ramsbottom Thistlethwaite Featherstone Llewellyn Pritchard
        Gwynne MacLeod McAllister McKenzie McGregor Sinclair Drummond Urquhart O'Brien O'Connor
        O'Neill O'Sullivan O'Leary Gallagher Doherty Brennan Kavanagh Fitzgerald Smith-Jones
        Lloyd-Webber Parker-Bowen Douglas-Home Hartley-Brewer Muller Schmidt Schneider Fischer
        Wagner Becker Schulz Hoffmann Koch Bauer Richter Krause Lehmann Zimmermann Vogel
        Baumgartner Steiner Huber Moser Egger Dubois Lefebvre Moreau Girard Rousseau Lambert
        Fontaine Chevalier Gauthier Perrin Boucher Tremblay Bouchard Gagnon Rossi Ferrari
        Esposito Bianchi Romano Colombo Ricci Marino Greco Gallo Conti Mancini Lombardi Moretti
        Barbieri Garcia Fernandez Gonzalez Rodriguez Lopez Martinez Sanchez Perez Gomez Martin
        Jimenez Ruiz Hernandez Diaz Moreno Alvarez Romero Navarro Gutierrez Dominguez Vazquez
        Castro Ortega Delgado Vargas Guerrero Espinoza Quispe Mamani Huanca Silva Souza Oliveira
        Pereira Ferreira Rodrigues Almeida Carvalho Ribeiro Teixeira Cardoso de_Souza da_Silva
        van_Dijk van_den_Berg de_Vries de_Boer van_der_Meer Jansen Bakker Visser Smit Hendriks
        Dekker Brouwer Peeters Janssens Maes Claes Hansen Johansen Olsen Larsen Andersen Nielsen
        Kristensen Rasmussen Sorensen Johansson Karlsson Lindqvist Bergstrom Lundgren Virtanen
        Korhonen Makinen Nieminen Hakkarainen Jonsdottir Sigurdsson Gudmundsson Kowalski Nowak
        Wisniewski Wojcik Kaminski Lewandowska Zielinski Novak Svoboda Dvorak Prochazka Horvath
        Kovacs Szabo Nagy Toth Molnar Popescu Ionescu Dumitru Radu Stoica Petrov Dimitrov
        Georgiev Nikolov Todorova Jovanovic Petrovic Nikolic Markovic Ilic Kovacevic Babic Maric
        Hodzic Papadopoulos Georgiou Dimakis Karagiannis Yilmaz Kaya Demir Celik Sahin Ozturk
        Aydin Arslan Ivanov Smirnov Kuznetsov Popov Volkov Sokolov Lebedev Morozova Pavlova
        Fedorov Kozlov Shevchenko Kovalenko Bondarenko Tkachenko Kravchuk Boyko Petrosyan
        Hakobyan Grigoryan Beridze Kapanadze Mammadov Aliyev Karimov Nazarov Rakhimov Bekov
        Omarova Cohen Mizrahi Peretz Friedman Katz Shapiro Goldberg Rosenthal al-Hassan al-Masri
        al-Rashid Haddad Khoury Nasser Saleh Mansour Farouk Ben_Ali Bouteflika Benali Mansouri
        Cherif Traore Diallo Keita Coulibaly Diop Ndiaye Sow Mensah Owusu Boateng Asante Okafor
        Adeyemi Eze Nwosu Okonkwo Balogun Ogunleye Abubakar Mwangi Otieno Kamau Kiprotich Chebet
        Cheruiyot Wekesa Mugisha Okello Nkurunziza Habimana Tadesse Bekele Gebremariam Abebe
        Mohamud Warsame Dlamini Nkosi Mokoena Zulu Khumalo Botha van_Wyk du_Plessis Moyo Ncube
        Chikwanda Banda Phiri Ahmadi Hosseini Rezaei Karimi Mousavi Khan Ahmed Malik Chaudhry
        Siddiqui Qureshi Bhutto Baloch Sharma Gupta Patel Mehta Kapoor Iyer Nair Reddy
        Krishnamurthy Banerjee Mukherjee Chatterjee Das Singh Gill Dhillon Desai Joshi Kulkarni
        Perera Fernando Wickramasinghe Rajapaksa Thapa Gurung Shrestha Rahman Hossain Chowdhury
        Wang Zhang Liu Chen Yang Huang Zhao Zhou Xu Zhu Guo Liang Xie Feng Deng Nakamura Tanaka
        Suzuki Watanabe Yamamoto Kobayashi Yoshida Sasaki Matsumoto Inoue Kimura Hayashi Shimizu
        Yamazaki Mori Ikeda Kim Choi Jeong Kang Cho Yoon Jang Tran Pham Hoang Vu Dang Bui Santoso
        Wijaya Hidayat Siregar Nasution Abdullah Ismail Tan Lim Ng Ong Chua Reyes Bautista Ocampo
        Villanueva Aquino Srisai Chaiyasit Taufa Tuimavave Leota Fonua Kahananui Waititi Parata""",
    "surname_word": """
        Brown Young Green White Black Gray King Bishop Cook Baker Butler Mason Carter Frost Snow
        Summers Winters Day Long Short Strong Sharp Swift Gates Rice Bacon Lamb Major Law Best
        Moody Power Case Banks Fields Rivers Hill Church Wood Stone Fox Wolf Price Bird Field
        Marsh Pool Rock Stern Bright Love Little Wise Noble Rich Small Cross Shepherd Fisher
        Hunter Page Knight Abbott Pope Cardinal Prior Parsons Chambers Waters Wells Bridges
        Brooks Woods Marks Mills Sands Waller Flowers Berry Cherry Peach Root Branch Bush Leaf
        Reed Moss Heath Glass Irons Cash Penny Gold Silver Diamond Pearl Ball Boot Cape Coats
        Savage Hardy Blunt Fast Child Bliss Hope May Grant Rose Mark Drew Ford Lane Weeks Judge
        Marshal Champion Victor Trainer Singer Player Farmer Carver Archer Gardener Carpenter
        Mercer Barber Porter Potter Tanner Draper Speaker Cannon Sargent Bellow Crisp Bean Curry
        Drinkwater""",
    "shared": """
        Lincoln Washington Houston Austin Santiago Sterling Florence Jackson Chelsea Preston
        Bolton Bradford Lancaster Hamilton Stafford Wellington Milan Charlotte Madison Orlando
        Dallas Denver Cleveland Marshall Carlisle Durham Kingston Monroe Raleigh Valencia Cordoba
        Leon Toledo Santos Medina Mendoza Darwin Adelaide Sydney Victoria Everton Melbourne
        Warwick Lourdes Salvador Rosario Warren Clifton Burton Franklin Arlington Newton
        Stratford Wayne Jefferson Nelson Dayton Logan Hilton Hudson Cameron Paris Sofia Carson
        Tyler Ashton Barnet Oldham Halifax Stirling Livingston Falkirk Dumfries Columbus Irving
        Garland Norman Trujillo Merida Soria Lugo Murcia Nancy Verona Siena Brescia Gijon Avila
        Palencia Cologne Coburg""",
    "city_name": """
        London Manchester Birmingham Leeds Glasgow Edinburgh Cardiff Belfast Bristol Newcastle
        Nottingham Leicester Southampton Plymouth Norwich Ipswich Swansea Aberdeen Dundee
        Inverness Dublin Limerick Galway Marseille Toulouse Bordeaux Strasbourg Nantes
        Montpellier Rennes Grenoble Lille Lyon Berlin Hamburg Munich Frankfurt Stuttgart
        Dusseldorf Dortmund Leipzig Dresden Hanover Nuremberg Bremen Bochum Wuppertal Madrid
        Barcelona Seville Zaragoza Malaga Bilbao Vigo Lisbon Porto Braga Coimbra Rome Naples
        Turin Palermo Genoa Bologna Bari Catania Venice Trieste Amsterdam Rotterdam Utrecht
        Eindhoven Groningen Brussels Antwerp Ghent Bruges Liege Zurich Geneva Basel Bern Lausanne
        Vienna Graz Linz Salzburg Innsbruck Copenhagen Aarhus Odense Stockholm Gothenburg Malmo
        Uppsala Oslo Bergen Trondheim Stavanger Helsinki Tampere Turku Reykjavik Warsaw Krakow
        Gdansk Wroclaw Poznan Lodz Prague Brno Ostrava Bratislava Kosice Budapest Debrecen Szeged
        Bucharest Cluj Timisoara Plovdiv Varna Belgrade Nis Zagreb Rijeka Ljubljana Maribor
        Sarajevo Mostar Skopje Tirana Pristina Podgorica Athens Thessaloniki Patras Istanbul
        Ankara Izmir Bursa Antalya Adana Kiev Kharkiv Odessa Lviv Donetsk Minsk Gomel Vilnius
        Kaunas Riga Tallinn Tartu Moscow Novosibirsk Yekaterinburg Kazan Samara Omsk Vladivostok
        Murmansk Tbilisi Batumi Yerevan Baku Almaty Tashkent Samarkand Bishkek Dushanbe Ashgabat
        Kabul Kandahar Herat Tehran Isfahan Tabriz Mashhad Baghdad Basra Mosul Erbil Damascus
        Aleppo Homs Beirut Tripoli Amman Irbid Jerusalem Haifa Ramallah Hebron Riyadh Jeddah Doha
        Dubai Sharjah Muscat Sanaa Aden Cairo Luxor Aswan Benghazi Tunis Sfax Algiers Oran
        Constantine Casablanca Rabat Marrakesh Fez Tangier Dakar Bamako Timbuktu Niamey
        Ouagadougou Accra Kumasi Lagos Kano Abuja Ibadan Douala Yaounde Libreville Kinshasa
        Lubumbashi Goma Luanda Lusaka Ndola Harare Bulawayo Lilongwe Blantyre Maputo Beira
        Johannesburg Pretoria Durban Soweto Bloemfontein Windhoek Gaborone Nairobi Mombasa Kisumu
        Kampala Entebbe Kigali Bujumbura Dodoma Mogadishu Djibouti Asmara Khartoum Juba
        Antananarivo Karachi Lahore Islamabad Peshawar Quetta Rawalpindi Mumbai Delhi Kolkata
        Chennai Bangalore Hyderabad Pune Ahmedabad Jaipur Lucknow Kanpur Nagpur Bhopal Amritsar
        Srinagar Kochi Dhaka Chittagong Colombo_City Jaffna Kandy Kathmandu Pokhara Thimphu
        Yangon Mandalay Bangkok Chiang_Mai Phuket Vientiane Hanoi Haiphong Hue Da_Nang Phnom_Penh
        Battambang Kuala_Lumpur Penang Jakarta Surabaya Bandung Medan Makassar Manila Cebu Davao
        Quezon_City Dili Port_Moresby Beijing Shanghai Guangzhou Shenzhen Chengdu Chongqing Wuhan
        Tianjin Harbin Nanjing Hangzhou Kunming Lhasa Urumqi Taipei Kaohsiung Seoul Busan Incheon
        Daegu Pyongyang Tokyo Osaka Kyoto Nagoya Sapporo Fukuoka Hiroshima Nagasaki Sendai
        Ulan_Bator Brisbane Perth Hobart Canberra Auckland Christchurch Dunedin Suva Apia Toronto
        Montreal Vancouver Ottawa Calgary Edmonton Winnipeg Saskatoon Regina Boston Chicago
        Detroit Philadelphia Pittsburgh Baltimore Atlanta Miami Tampa Jacksonville Nashville
        Memphis Louisville Cincinnati Indianapolis Milwaukee Minneapolis Omaha Wichita Tulsa
        Albuquerque Tucson Las_Vegas Salt_Lake_City Seattle Portland Spokane Sacramento Fresno
        Oakland Honolulu Anchorage Mexico_City Guadalajara Monterrey Puebla Tijuana Acapulco
        Oaxaca Tegucigalpa Managua Havana Camaguey Kingstown Port-au-Prince Bogota Medellin Cali
        Cartagena Barranquilla Caracas Maracaibo Quito Guayaquil Lima Arequipa Cusco La_Paz
        Cochabamba Sucre Asuncion Montevideo Buenos_Aires Rio_de_Janeiro Sao_Paulo Brasilia
        Recife Fortaleza Manaus Belem Curitiba Porto_Alegre Valparaiso Concepcion Antofagasta
        New_Orleans New_Delhi New_York San_Francisco San_Diego San_Antonio San_Jose Los_Angeles
        Santa_Fe Saint_Petersburg Ho_Chi_Minh_City Cape_Town Addis_Ababa Dar_es_Salaam
        Port_Harcourt""",
    "capital": """
        London Paris Berlin Rome Madrid Moscow Kiev Beijing Tokyo Seoul Delhi Islamabad Kabul
        Tehran Baghdad Damascus Cairo Ankara Athens Warsaw Budapest Belgrade Zagreb Brussels
        Vienna Stockholm Oslo Helsinki Copenhagen Lisbon Dublin Prague Pyongyang Hanoi Bangkok
        Jakarta Manila Canberra Ottawa Havana Caracas Bogota Lima Brasilia Washington Nairobi
        Pretoria Tripoli Algiers Riyadh Amman Beirut Minsk Tbilisi Baku Taipei Dakar Accra""",
    "city_word": """
        Reading Bath Cork Nice Mobile Split Buffalo Phoenix Orange Hull Sale Bury Lens Tours
        Flint Deal Rugby Poole Wells Rye Crewe Goole Sandwich Normal Hershey Beaver Falls_Church
        Boulder Sparks Corona Independence Enterprise Concord Bend Eureka Fountain Spa Essen
        Worms Baden Singen Hope""",
    "country": """
        France Germany Spain Italy Portugal Belgium Switzerland Austria Poland Hungary Romania
        Bulgaria Serbia Croatia Slovenia Slovakia Greece Turkey Ukraine Belarus Russia Lithuania
        Latvia Estonia Finland Sweden Norway Denmark Iceland Ireland Britain England Albania
        Macedonia Kosovo Montenegro Bosnia Cyprus Malta Luxembourg Monaco Andorra Liechtenstein
        Egypt Libya Tunisia Algeria Morocco Sudan Ethiopia Eritrea Somalia Kenya Uganda Tanzania
        Rwanda Burundi Congo Cameroon Gabon Nigeria Ghana Togo Benin Mali Niger Senegal Guinea
        Liberia Mauritania Angola Zambia Zimbabwe Malawi Mozambique Botswana Namibia Lesotho
        Madagascar Mauritius South_Africa Burkina_Faso Ivory_Coast Sierra_Leone Israel Lebanon
        Syria Jordan Iraq Iran Saudi_Arabia Kuwait Bahrain Qatar Oman Yemen Armenia Azerbaijan
        Georgia Kazakhstan Uzbekistan Turkmenistan Kyrgyzstan Tajikistan Afghanistan Pakistan
        India Nepal Bhutan Bangladesh Sri_Lanka Myanmar Thailand Laos Vietnam Cambodia Malaysia
        Singapore Indonesia Brunei Taiwan China Mongolia Japan South_Korea North_Korea Australia
        New_Zealand Fiji Samoa Tonga Vanuatu Papua_New_Guinea Canada Mexico Guatemala Belize
        Honduras El_Salvador Nicaragua Costa_Rica Panama Cuba Haiti Jamaica Barbados Trinidad
        Grenada Colombia Venezuela Ecuador Peru Bolivia Paraguay Uruguay Argentina Chile Brazil
        Suriname Guyana""",
    "country_the": """
        United_States United_Kingdom Netherlands Philippines Maldives Bahamas Czech_Republic
        United_Arab_Emirates Gambia Dominican_Republic Seychelles Comoros Solomon_Islands
        Central_African_Republic Marshall_Islands Vatican""",
    "region": """
        California Texas Florida Alaska Hawaii Oregon Nevada Montana Ohio Iowa Kansas Utah
        Vermont Wyoming Nebraska Oklahoma Alabama Louisiana Arizona Minnesota Wisconsin Illinois
        Ontario Quebec Alberta Manitoba Saskatchewan Newfoundland Queensland Tasmania Scotland
        Wales Yorkshire Cornwall Devon Kent Norfolk Suffolk Essex Cumbria Ulster Brittany
        Normandy Burgundy Provence Alsace Corsica Bavaria Saxony Westphalia Thuringia Catalonia
        Andalusia Galicia Lombardy Tuscany Sicily Sardinia Calabria Umbria Flanders Wallonia
        Lapland Jutland Silesia Moravia Transylvania Crete Macedonia Thrace Anatolia Cappadocia
        Crimea Chechnya Dagestan Siberia Kamchatka Sakhalin Abkhazia Kurdistan Galilee Gaza Sinai
        Darfur Kordofan Tigray Oromia Puntland Somaliland Zanzibar Katanga Zululand Punjab Sindh
        Balochistan Waziristan Kashmir Gujarat Bihar Kerala Assam Rajasthan Tamil_Nadu Bengal
        Tibet Xinjiang Sichuan Yunnan Guangdong Hebei Manchuria Hokkaido Okinawa Kyushu Java
        Sumatra Borneo Bali Sulawesi Mindanao Luzon Patagonia Amazonia Bahia Chiapas Sinaloa
        Yucatan Sonora Tabasco""",
    "river": """
        Danube Rhine Thames Seine Volga Zambezi Limpopo Ganges Brahmaputra Mekong Yangtze
        Mississippi Missouri Potomac Orinoco Euphrates Tigris Po Elbe Oder Vistula Dnieper Loire
        Rhone Ebro Tagus Indus Irrawaddy Parana Columbia Hudson Yukon Murray Severn Shannon Neva
        Ural Ob Jordan Orange_River Clyde Tyne Mersey Garonne Main Neckar Tiber Nile""",
    "sea": """
        Baltic_Sea Adriatic Aegean Mediterranean Caribbean Caspian Arctic Bosphorus Dardanelles
        Strait_of_Hormuz Gulf_of_Aden Gulf_of_Guinea Bay_of_Biscay Bay_of_Bengal Irish_Channel
        Tasman_Sea Coral_Sea Timor_Sea Gulf_of_Thailand Bering_Strait Sea_of_Marmara Kattegat
        Gulf_of_Mexico Barents_Sea Solent Straits_of_Malacca Baffin_Bay Sea_of_Azov Sea_of_Japan
        Sea_of_Okhotsk""",
    "range": """
        Alps Pyrenees Carpathians Apennines Urals Caucasus Himalayas Andes Rockies Appalachians
        Sierra_Nevada Sahara Gobi Kalahari Negev Serengeti Atacama Dolomites Pampas Everglades
        Hindu_Kush Tatras Pamirs Karakoram Ozarks Catskills Cairngorms Pennines Vosges""",
    "peak": """
        Everest Kilimanjaro Fuji Etna Vesuvius Elbrus Ararat Rainier McKinley Aconcagua Ruapehu
        Pinatubo Merapi Kinabalu Olympus Sinai Baker Cook Rushmore Logan Washington Hood Shasta
        Whitney Mayon Cotopaxi Nyiragongo Semeru Aso Kosciuszko""",
    "firm_name": """
        Siemens Bosch Volkswagen Daimler Porsche Bayer BASF Allianz Lufthansa Adidas SAP Infineon
        Renault Peugeot Michelin Airbus Danone Carrefour Alstom Thales Sanofi Vivendi Nestle
        Roche Novartis Swatch Philips Heineken Unilever Ericsson Volvo Saab Ikea Electrolux Nokia
        Kone Stora_Enso Maersk Carlsberg Novo_Nordisk Statoil Telenor Fiat Olivetti Pirelli Eni
        Enel Luxottica Telefonica Repsol Iberdrola Inditex Santander BBVA Gazprom Lukoil Rosneft
        Aeroflot Sberbank Toyota Honda Nissan Mitsubishi Mazda Subaru Sony Panasonic Toshiba
        Hitachi Fujitsu Canon Nikon Nintendo Softbank Kirin Samsung Hyundai Kia Daewoo Posco
        Lenovo Huawei Alibaba Tencent Baidu Xiaomi Sinopec Foxconn Acer Asus TSMC Tata Reliance
        Infosys Wipro Mahindra Petronas Garuda Qantas Telstra BHP Rio_Tinto Woolworths Westpac
        Bombardier Petrobras Embraer Cemex Bimbo Pemex Ecopetrol Safaricom Naspers Sasol Vodacom
        Dangote Sonatrach Aramco Etisalat Boeing Lockheed Raytheon Northrop Microsoft IBM Intel
        Cisco Dell Xerox Kodak Motorola Qualcomm Nvidia Netflix Google Facebook Yahoo eBay PayPal
        Walmart Kmart Starbucks Pepsico Coca-Cola McDonald's Kellogg Chrysler Chevron Exxon
        ConocoPhillips Halliburton Pfizer Merck Citigroup JPMorgan Barclays HSBC Lloyds NatWest
        Vodafone BT Tesco Sainsbury's Rolls-Royce BAE GlaxoSmithKline AstraZeneca Diageo Ryanair
        EasyJet Verizon AT&T Comcast FedEx UPS DHL Goodyear Monsanto DuPont Honeywell
        Hewlett-Packard Caltex Bridgestone""",
    "firm_word": """
        Apple Target Shell Gap Visa Oracle Orange Amazon Sprint Subway Dove Delta Caterpillar
        Alphabet Snap Slack Zoom Stripe Boots Virgin Halfords Fox Chase Discover Block Match Box
        Dish Unity Circle Signet Corona Puma Jaguar Pilot Mars Tide Crest Galaxy Focus Cadence
        Sage Compass Monster Shift Fortune Crocs Gem Wish Bolt Wise Monument Ford Penguin
        Burberry Carnival Hertz Dominion Ball Sketchers Hess Key Buzz Seat Opal""",
    "firm_key": """
        Arcadia Northgate Meridian Halcyon Calder Redwood Zenith Pinnacle Vantage Solaris Novatek
        Quantex Trident Orion Polaris Aurora Helios Titan Apollo Mercury Vertex Nexus Quantum
        Evergreen Silverline Bluewater Greenfield Ironbridge Stonehaven Fairmont Ridgeway Oakmont
        Kingsway Castlegate Harbourside Lakeshore Westbrook Eastfield Highland Lowland Sunrise
        Horizon Summit Cascade Granite Cobalt Falcon Eagle Phoenixia Griffon Pegasus Centaur Argo
        Atlas Kestrel Osprey Heron Swan Lotus Sakura Dragonfly Jade Bamboo Banyan Acacia Baobab
        Savanna Kalima Zephyr Sirocco Mistral Borealis Austral Boreas Tundra Sequoia Juniper
        Primrose Thornton Ashcroft Whitmore Blackwell Brightwater Clearview Landmark Keystone
        Cornerstone Milestone Beacon Lantern Signal Frontier Pioneer Voyager Endeavour Liberty
        Sentinel Guardian Paragon Crescent Sovereign Imperial Regent Consolidated Allied
        Amalgamated Transatlantic Intercontinental Continental Pacific Atlantic Nordic Baltic
        Alpine Iberian Hanseatic Levant Sahara Andean Caspian Coral Lagoon Delphi Sparta Corinth
        Olympus""",
    "agency_the": """
        FBI CIA IMF WHO WTO OECD EU UN African_Union Arab_League World_Bank European_Commission
        European_Parliament Security_Council Supreme_Court Bundestag Knesset Duma Senate Pentagon
        House_of_Commons Federal_Reserve Bundesbank Vatican_Bank KGB DEA EPA FDA FCC SEC
        Constitutional_Court Court_of_Appeal High_Court Electoral_Commission Audit_Office
        Treasury State_Department White_House Home_Office Foreign_Office BBC NBA NFL
        Football_Association Space_Agency Atomic_Energy_Agency Trade_Union_Congress Royal_Navy
        Commonwealth_Secretariat Teamsters League_of_Nations Chamber_of_Commerce
        Anti-Corruption_Bureau Competition_Tribunal Ombudsman_Council Maritime_Organisation
        Boy_Scouts Heritage_Trust Statistics_Bureau Air_Force""",
    "agency_bare": """
        NATO UNESCO UNICEF Interpol Europol OPEC NASA FIFA UEFA ASEAN Mercosur Hezbollah Hamas
        Oxfam Greenpeace Amnesty_International Human_Rights_Watch Transparency_International
        Scotland_Yard Congress Parliament CERN Eurostat Frontex Caritas Medecins_Sans_Frontieres
        Whitehall Mossad CONCACAF WADA Ofcom Ofsted Eurojust Solidarnosc Ecowas Bundeswehr
        Save_the_Children""",
    "relief_the": """
        Red_Cross Coast_Guard Weather_Bureau Geological_Survey Met_Office National_Guard
        Border_Force Salvation_Army Peace_Corps Civil_Aviation_Authority Forestry_Commission
        Weather_Service Hurricane_Center Seismological_Institute Environment_Agency
        Lifeboat_Institution Disaster_Fund Flood_Board Mountain_Patrol Air_Ambulance
        Meteorological_Society Avalanche_Centre Volcano_Observatory Harbour_Authority
        Climate_Panel Tsunami_Network Navy_Command Rivers_Trust Drought_Taskforce Fire_Brigade
        Highways_Agency""",
    "ministry": """
        Finance Foreign Defence Interior Health Education Justice Agriculture Transport Labour
        Environment Culture Tourism Fisheries Housing Commerce Information""",
    "party_key": """
        Labour Conservative Liberal Green Justice Reform Unity Progress Freedom Democratic
        Republican Socialist Communist Nationalist Workers Peasant Farmers Pirate Centrist
        Patriotic People's Citizens Independence Renewal Solidarity Radical Christian_Democratic
        Moderate Popular Federalist Motherland Fatherland Equality Dignity Prosperity Rally
        Homeland Future Alternative New_Dawn Rainbow Monarchist Agrarian Populist Civic
        Conscience Development""",
    "party_name": """
        Likud Fatah Kadima Meretz Fianna_Fail Fine_Gael Sinn_Fein Plaid_Cymru Forza_Italia Golkar
        Komeito Zanu-PF Frelimo Renamo Swapo Syriza Pasok Podemos Ciudadanos Fidesz Jobbik
        Vlaams_Belang Bharatiya_Janata Shiv_Sena Awami Kuomintang Nidaa_Tounes Ennahda Batasuna
        Vetevendosje Smer Ano Unita Chadema Inkatha Jubilee""",
    "paper_the": """
        Guardian Times Independent Daily_Telegraph Daily_Mail Mirror Observer Economist
        Financial_Times Scotsman Herald Sun Wall_Street_Journal Irish_Examiner Globe_and_Mail
        Straits_Times Hindu Jakarta_Post Bangkok_Nation Mercury_News Plain_Dealer Star_Tribune
        Chronicle Gazette Inquirer Sentinel Courier Spectator Nation Standard Tribune
        Morning_Post Argus Bugle Age Washington_Examiner Dispatch Clarion Monitor Vanguard Echo
        Register Advertiser""",
    "paper_bare": """
        Le_Monde Le_Figaro Liberation El_Pais El_Mundo La_Repubblica La_Stampa Der_Spiegel
        Die_Welt Bild Die_Zeit Aftenposten Izvestia Kommersant Haaretz Asahi_Shimbun
        Yomiuri_Shimbun Clarin Folha Milliyet Hurriyet Al_Jazeera Al-Ahram Xinhua Tass Interfax
        CNN CBS Sky_News Newsweek Vogue Time Forbes People Variety Rzeczpospolita Dagens_Nyheter
        Kathimerini Elle Wired""",
    "journal": """
        Nature Science Cell Lancet Neuron Brain Blood Heart Gut Thorax Icarus Astronomy_Letters
        Chaos Ecology Evolution Genetics Polar_Biology Marine_Policy Ophelia Physical_Review
        Circulation Immunity Stroke Vaccine Glia Copeia Nanoscale Energy_Letters Sleep Appetite""",
    "univ_name": """
        Harvard Yale Princeton Stanford Cornell Brown Columbia Dartmouth Rutgers Purdue
        Vanderbilt Duke Emory Caltech MIT Oxford Cambridge Sorbonne Heidelberg Tsinghua Peking
        Waseda Keio Makerere McGill Bocconi Sciences_Po Karolinska_Institutet Technion ETH_Zurich
        Tulane Baylor Rice""",
    "univ_key": """
        Oxford Cambridge Heidelberg Leiden Uppsala Bologna Salamanca Coimbra Durham Warwick
        Lancaster Bath Reading Stirling Tel_Aviv Ghent Leuven Tartu Makerere Freiburg Gottingen
        Jena Padua Pisa Otago Waikato Guelph Trondheim Lund Aalto Delft""",
    "nickname": """
        Bulls Bears Lions Tigers Hawks Eagles Sharks Giants Rockets Kings Jets Wolves Panthers
        Cardinals Dolphins Raiders Warriors Pirates Rangers Stars Suns Spurs Stallions Comets
        Blazers Hornets Falcons Knights Saints Rams Colts Blues Braves Mariners Thunder Titans
        Crusaders Bulldogs Barons Buccaneers Flames Senators Wild Penguins Heat Magic Nets
        Nuggets""",
    "club_name": """
        Arsenal Liverpool Celtic Barcelona Juventus Ajax Benfica Fulham Watford Sunderland
        Aston_Villa Tottenham Wimbledon Crystal_Palace Blackburn Wolverhampton Brentford Millwall
        Portsmouth Galatasaray Fenerbahce Besiktas Trabzonspor Olympiakos Panathinaikos
        Anderlecht Club_Brugge Feyenoord Vitesse Heerenveen Fiorentina Lazio Sampdoria Udinese
        Atalanta Parma Perugia Osasuna Espanyol Deportivo Getafe Betis Villarreal Schalke Hertha
        Wolfsburg Leverkusen Hoffenheim Kaiserslautern Bochum Auxerre Guingamp Monaco Metz
        Lorient Rosenborg Brondby Malmo Djurgarden Spartak Lokomotiv Shakhtar Ferencvaros Slavia
        Steaua Hajduk Partizan Boca_Juniors River_Plate Flamengo Fluminense Corinthians Palmeiras
        Gremio Penarol Nacional Colo-Colo Olimpia Millonarios Cruz_Azul Chivas Al-Ahly Zamalek
        Esperance Raja Kaizer_Chiefs Orlando_Pirates Asante_Kotoko Hearts_of_Oak Urawa_Reds
        Gamba_Osaka Kashima_Antlers Al-Hilal Al-Ain Persepolis Esteghlal Mohun_Bagan East_Bengal
        Independiente Rapid_Bucharest Wisla Legia Levski Maccabi Hapoel Zenit Torpedo Metalist""",
    "team_name": """
        Yankees Mets Dodgers Lakers Celtics Knicks Packers Steelers Cowboys Bruins Maple_Leafs
        Canadiens Red_Sox White_Sox Cubs Astros Orioles Padres Phillies Redskins Broncos Chargers
        Seahawks Bengals Browns Vikings Ravens Clippers Pistons Timberwolves Grizzlies Raptors
        Canucks Oilers Sabres Islanders Predators Marlins Brewers Twins Royals Angels""",
    "nat": """
        French German Spanish Italian Portuguese Belgian Swiss Austrian Polish Hungarian Romanian
        Bulgarian Serbian Croatian Slovenian Slovak Greek Turkish Ukrainian Belarusian Russian
        Lithuanian Latvian Estonian Finnish Swedish Norwegian Danish Icelandic Irish British
        English Scottish Welsh Albanian Macedonian Kosovan Bosnian Cypriot Maltese Egyptian
        Libyan Tunisian Algerian Moroccan Sudanese Ethiopian Eritrean Somali Kenyan Ugandan
        Tanzanian Rwandan Congolese Cameroonian Nigerian Ghanaian Senegalese Angolan Zambian
        Zimbabwean Malawian Mozambican Namibian South_African Israeli Palestinian Lebanese Syrian
        Jordanian Iraqi Iranian Saudi Kuwaiti Qatari Omani Yemeni Armenian Azerbaijani Georgian
        Kazakh Uzbek Turkmen Kyrgyz Tajik Afghan Pakistani Indian Nepalese Bangladeshi Sri_Lankan
        Burmese Thai Laotian Vietnamese Cambodian Malaysian Singaporean Indonesian Filipino
        Taiwanese Chinese Mongolian Japanese South_Korean North_Korean Australian New_Zealander
        Fijian Samoan Canadian American Mexican Guatemalan Honduran Salvadoran Nicaraguan
        Panamanian Cuban Haitian Jamaican Colombian Venezuelan Ecuadorean Peruvian Bolivian
        Paraguayan Uruguayan Argentine Chilean Brazilian Dutch Czech Catalan Basque Kurdish
        Chechen Tibetan""",
    "language": """
        French German Spanish Italian Portuguese Polish Hungarian Romanian Bulgarian Serbian
        Croatian Greek Turkish Ukrainian Russian Lithuanian Latvian Finnish Swedish Norwegian
        Danish Irish English Welsh Albanian Maltese Somali Armenian Georgian Kazakh Uzbek Thai
        Vietnamese Malay Indonesian Chinese Mongolian Japanese Dutch Czech Catalan Basque Kurdish
        Tibetan Arabic Hebrew Latin Swahili Hindi Urdu Tamil Bengali Persian Yiddish Sanskrit
        Zulu Yoruba Hausa Amharic Tagalog Quechua Gaelic Breton Esperanto Icelandic Korean
        Afrikaans Xhosa""",
    "faith": """
        Muslim Catholic Hindu Buddhist Sikh Jewish Sunni Shi'ite Protestant Orthodox Methodist
        Baptist Lutheran Anglican Presbyterian Coptic Mormon Quaker Jain Sufi Calvinist Maronite
        Druze Pentecostal""",
    "meet_name": """
        Olympic_Games Davis_Cup Ryder_Cup Tour_de_France Giro_d'Italia Paralympics Grand_National
        Kentucky_Derby Asian_Games Fed_Cup Pan_American_Games Masters Winter_Olympics
        Commonwealth_Games Solheim_Cup Vuelta_a_Espana Breeders_Stakes Milan-San_Remo
        Roland_Garros Tour_of_Flanders Diamond_League Goodwill_Games Universiade Hopman_Cup
        Golden_Gala Presidents_Cup Dakar_Rally Mille_Miglia Indy_500 Iditarod Maccabiah""",
    "cup_name": """
        World_Cup Champions_League Premier_League Bundesliga Europa_League Gold_Cup Copa_America
        Confederations_Cup Eredivisie Primera_Liga Intertoto_Trophy Coppa_Italia FA_Cup DFB-Pokal
        Copa_Libertadores Serie_A Super_Cup Currie_Cup Copa_del_Rey Ligue_Un Allsvenskan
        Eliteserien J-League Sudamericana Recopa Charity_Shield Cup_Winners'_Trophy
        Anglo-Italian_Shield Ekstraklasa Superliga Nehru_Cup King's_Trophy""",
    "war_name": """
        Cold_War Gulf_War Vietnam_War Korean_War Boer_War Crimean_War Renaissance Reformation
        Industrial_Revolution Enlightenment Great_Depression Six-Day_War Holocaust
        Velvet_Revolution Arab_Spring Black_Death Great_Exhibition Suez_Crisis Opium_Wars
        Cultural_Revolution Napoleonic_Wars Peninsular_War Restoration Blitz Intifada""",
    "event_bare": """
        Wimbledon Christmas Easter Ramadan Diwali Hanukkah Passover Thanksgiving Halloween
        Hogmanay Glastonbury Oktoberfest Bastille_Day Independence_Day Eid_al-Fitr Lent Pentecost
        Holi Nowruz Songkran Mardi_Gras Comic-Con Purim Anzac_Day Kwanzaa Eurovision Bayreuth""",
    "prize": """
        Nobel Pulitzer Booker Oscar Grammy Emmy Tony Bafta Goncourt Turner Fields Abel Goya Cesar
        Cervantes Pritzker Costa Stirling Hugo Nebula Edgar Orwell Mercury Brit Juno Templeton
        Sakharov Kyoto Balzan Lasker Wolf Crafoord Kavli Holberg Polaris Amadeus Obie Ondas""",
    "product": """
        Corolla Passat Mondeo Polo Golf Clio Fiesta Mustang Beetle Cherokee Camry Civic
        PlayStation Xbox Walkman Android Photoshop Excel iPhone iPad Kindle Macintosh Gameboy
        Tornado Gripen Rafale Mirage Hercules Chinook Apache Lynx Leopard Vespa Segway Prius
        Megane Astra Fabia Octavia Punto Panda Uno Twingo Jetta Tiguan Escort Focus Galaxy
        ThinkPad Airbook Blackberry Nexus Pixel Lumia Razr Wii Dreamcast Alexa Roomba Thermomix
        Dreamliner Superjumbo""",
    "craft": """
        Voyager Cassini Galileo Rosetta Hubble Kepler Soyuz Apollo Gemini Discovery Atlantis
        Endeavour Pathfinder Curiosity Opportunity Spirit Juno Hayabusa Chandrayaan Beagle
        Magellan Mariner Viking Pioneer Luna Salyut Mir Skylab Columbia Dawn Messenger Huygens
        Giotto Gaia Herschel Planck Philae Perseverance Ingenuity Sputnik Vostok Progress
        Shenzhou Tiangong Artemis""",
    "text": """
        Koran Bible Talmud Iliad Odyssey Mahabharata Torah Ramayana Aeneid Upanishads Decameron
        Kalevala Bhagavad_Gita Divine_Comedy Book_of_Kells Domesday_Book Magna_Carta Vulgate
        Avesta Popol_Vuh Dhammapada Septuagint Nibelungenlied Mabinogion Shahnameh Edda
        Canterbury_Tales Book_of_Hours Book_of_Job Book_of_Common_Prayer Book_of_Changes""",
    "work_adj": """
        Silent Broken Crimson Golden Hidden Forgotten Distant Burning Frozen Endless Secret
        Lonely Wandering Velvet Scarlet Hollow Gentle Restless Bitter Sleeping Drowned Painted
        Borrowed Quiet Savage Electric Invisible Wooden Paper Empty Midnight Northern Second
        Seventh Ancient Reluctant Blue Cruel Tender Falling Unfinished Immortal Accidental
        Perfect Impossible Careless Shining Faithful Crooked Narrow""",
    "work_noun": """
        River Garden Mirror Window Harvest Orchard Lighthouse Letters Daughters Promise Journey
        Shadow Echoes Harbour Winter Kingdom Stranger Clockmaker Piano Sparrow Nightingale
        Labyrinth Carousel Lantern Cathedral Passengers Horizon Umbrella Violin Staircase Ghosts
        Soldier Thief Librarian Wedding Tides Ashes Meadow Compass Riddle Testament Oath Emperor
        Machine Portrait Sonata Vineyard Inheritance""",
    "work_name": """
        Hamlet Macbeth Othello Carmen Tosca Aida La_Boheme Don_Giovanni Faust Nabucco Ulysses
        Dracula Middlemarch Frankenstein Don_Quixote War_and_Peace Les_Miserables Casablanca
        Vertigo Psycho Guernica Swan_Lake The_Nutcracker The_Tempest Twelfth_Night Fidelio
        Lohengrin Parsifal Evita Cats Moby_Dick Jane_Eyre Emma Dubliners Metropolis Nosferatu
        Rashomon Persona Amarcord Jaws Titanic Avatar Gladiator Gandhi Chinatown Fargo Alien
        Thriller Imagine Yesterday Graceland Nevermind""",
}

# Words that do not identify a name, among them all that the rules of an entity spell out: names may
# share them and still lie in different splits. No name of one word is here.
GENERIC = """
    & 's accords act aerospace african ag agency airlines airport al alliance and annals arena
    athletic authority avenue award ballet bank battle ben biennale book bridge brothers bureau
    capital centre chemicals children city classic co coliseum commission convention corp council
    county court crown cup cyclone da daily de del den department der des di district du dynamo
    east el electronics elementary energy european exchange fair fc festival film foods force
    foundation front fund gallery games general goodbye grammar grand great ground group gulf
    high highway holdings hospital house hurricane inc industries institute insurance
    international islands jazz journal la lake las le league les logistics los ltd marathon medal
    media memorial ministry motors mount museum national new news newswire north nv observatory
    of office open opera orchestra partners party patrol petroleum pharmaceuticals philharmonic
    playhouse plc police post press prix prize quartet republic research resources road robotics
    rovers royal saint san santa santo savings school sea semiconductors sheriff siege software
    south square st stadium state steel stock storm street symphony systems technologies
    technology telecom the treaty trophy tropical trust typhoon union united university van von
    war wars west world world's ,
    """

ENTITIES = {
    "PER": "person woman man last xlast first",
    "ORG": """
        firm xfirm smallfirm club franchise the_agency the_relief agency the_ministry the_party
        party univ the_univ the_paper paper the_journal wire the_police the_court hospital school
        the_fund the_lab the_orchestra the_museum the_bank the_exchange the_council""",
    "LOC": """
        city capital_city land_name the_land_name province the_river the_sea the_range mount lake
        street airport venue county the_bridge""",
    "MISC": """
        nationality tongue religion the_tourn the_cup the_pact the_war the_fest holiday the_prize
        work old_work scripture storm gadget probe""",
}

WORDS = {
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "month": """
        January February March April May June July August September October November December""",
    "initial": "A. B. C. D. E. F. G. H. J. K. L. M. N. O. P. R. S. T. V. W.",
    "nth": "first second third fourth fifth sixth seventh",
    "quarter": "first second third fourth last",
    "decimal": """
        1.2 1.4 1.7 1.9 2.1 2.3 2.6 2.8 3.1 3.2 3.5 3.7 4.1 4.4 4.6 4.9 5.2 5.5 6.3 6.8 7.1 7.4
        8.2 8.9 9.3 0.3 0.4 0.6 0.7 0.9""",
    "richter": "4.8 5.1 5.3 5.6 5.9 6.2 6.4 6.8 7.1",
    "thousands": """
        1,200 1,450 2,300 2,750 3,100 3,600 4,200 5,000 6,400 7,850 8,300 9,100 10,000 12,400
        14,700 18,500 21,000 26,000 32,500 41,000 55,000 68,000 80,000 120,000 250,000""",
    "goals": "1-0 2-0 2-1 3-0 3-1 3-2 4-0 4-1 4-2 5-1 5-3",
    "draw": "0-0 1-1 2-2 3-3",
    "set": "6-0 6-1 6-2 6-3 6-4 7-5 7-6",
    "points": "88-79 91-84 94-90 97-85 101-99 104-88 110-102 112-97 118-113 121-120 79-71 83-76",
    "clock": "0700 0815 0930 1100 1245 1400 1530 1645 1800 1915 2030 2200",
    "laptime": "1:21.406 1:22.118 1:24.930 1:27.551 1:31.072 1:33.684 1:36.249 1:40.815",
    "racetime": "2:04:31 2:05:58 2:07:12 2:08:40 2:10:03 2:23:19 2:25:47 2:27:06 2:31:28",
    "sprinttime": "9.84 9.91 9.97 10.02 10.08 19.88 20.04 20.31 22.15 44.37 44.91 50.26",
    "minister": """
        President Prime_Minister Foreign_Minister Finance_Minister Interior_Minister
        Vice_President Defence_Minister Health_Minister Deputy_Prime_Minister Justice_Minister
        Trade_Minister Education_Minister Chancellor Opposition_leader Transport_Minister""",
    "honour": "Mr Mrs Ms Dr Professor Sir Judge Senator Captain Colonel General Bishop Inspector",
    "politico": """
        lawmaker senator governor diplomat envoy negotiator mayor spokesman dissident activist
        campaigner economist historian pollster lobbyist""",
    "boss": """
        chief_executive chairman finance_director chief_economist managing_director founder
        chairwoman head_of_sales chief_engineer vice_president marketing_director treasurer""",
    "maker": """
        group company manufacturer conglomerate giant multinational supplier exporter start-up
        market_leader concern family_firm""",
    "goods": """
        steel copper coffee cocoa cotton rubber palm_oil natural_gas lithium fertiliser furniture
        insulin beer cement timber glass paper sugar tea wool plastic aluminium bottled_water
        frozen_food silk soap paint salt leather""",
    "crop": "coffee cocoa cotton wheat rice grapes apples olives maize barley cherries hops tea",
    "position": """
        striker midfielder goalkeeper defender winger captain forward fullback centre-half
        playmaker left-back teenager substitute""",
    "athlete": """
        sprinter hurdler swimmer gymnast rower cyclist skier skater boxer wrestler fencer archer
        marathon_runner triathlete sailor jockey golfer diver""",
    "artist": """
        novelist poet painter sculptor pianist violinist conductor soprano tenor actor actress
        film_director playwright photographer singer dancer choreographer composer cellist
        guitarist illustrator critic""",
    "art": "novel film play opera ballet album musical memoir thriller comedy documentary painting",
    "suspect": """
        taxi_driver bank_clerk accountant farmer chef plumber teacher student former_soldier
        shopkeeper nurse lorry_driver fisherman waiter builder retired_banker""",
    "officer": """
        detective prosecutor police_chief coroner lawyer public_defender investigator inspector
        customs_officer sheriff prison_governor""",
    "loot": """
        a_stolen_painting a_gold_watch a_bag_of_cash two_rifles a_set_of_false_passports a_van
        a_box_of_diamonds rare_stamps a_sports_car a_pearl_necklace silver_coins""",
    "scholar": """
        biologist chemist physicist astronomer geologist botanist zoologist neuroscientist
        immunologist climatologist palaeontologist mathematician engineer surgeon epidemiologist
        oceanographer geneticist linguist archaeologist""",
    "species": """
        beetle orchid frog whale bat salmon fern octopus lizard parrot moth shark sparrow
        tortoise mushroom jellyfish rhinoceros antelope fox wolf seal penguin rose_bush""",
    "ill": """
        malaria measles influenza diabetes asthma cholera tuberculosis polio dementia arthritis
        breast_cancer heart_disease""",
    "shower": "rain snow hail sleet drizzle",
    "gloom": "rain snow hail fog sleet thunder_and_lightning freezing_rain mist",
    "sky": "rain snow hail fog frost sleet sunshine drizzle thunder wind",
    "forecaster": "forecaster meteorologist rescue_worker farmer fisherman hydrologist climber",
    "compass": "north south east west north-east north-west south-east south-west",
    "northern": "northern southern eastern western central north-eastern south-western",
}

RULES = {
    "sentence": """
        13 | $politics_sentence
        13 | $business_sentence
        13 | $sport_sentence
        13 | $culture_sentence
        13 | $crime_sentence
        13 | $weather_sentence
        13 | $science_sentence
        6 | $line
        3 | $roundup""",
    # --- names of people --------------------------------------------------------------------------
    "given": """
        9 | $given_m
        9 | $given_f
        3 | $given_word
        2 | $given_place""",
    "anyname": """
        10 | $surname
        3 | $surname_word
        2 | $shared""",
    "person": """
        16 | $given $anyname
        2 | $initial $anyname
        1 | $initial $initial $anyname
        2 | $given $initial $anyname""",
    "woman": """
        8 | $given_f $anyname
        1 | $given_f $initial $anyname""",
    "man": """
        8 | $given_m $anyname
        1 | $given_m $initial $anyname""",
    "last": "$anyname",
    "xlast": """
        3 | $surname
        2 | $surname_word
        2 | $shared""",
    "first": """
        3 | $given_m
        3 | $given_f
        1 | $given_word
        1 | $given_place""",
    # --- organisations; those that need an article are called the_... -----------------------------
    "suffix": """
        Inc
        Corp
        Ltd
        AG
        Plc
        Group
        Holdings
        Co
        & Co
        NV""",
    "industry": """
        Pharmaceuticals
        Airlines
        Energy
        Motors
        Foods
        Industries
        Software
        Logistics
        Media
        Insurance
        Capital
        Partners
        Technologies
        Semiconductors
        Chemicals
        Resources
        Telecom
        Petroleum
        Electronics
        Aerospace
        Systems
        Robotics
        Bank
        Savings Bank
        Steel""",
    "firm": """
        9 | $firm_name
        3 | $firm_name $suffix
        4 | $firm_key $industry
        2 | $firm_key $industry $suffix
        1 | $surname & $surname
        1 | $surname $industry
        1 | $surname Brothers""",
    "xfirm": """
        6 | $firm_name
        2 | $firm_key $industry
        5 | $firm_word
        1 | $surname & $surname
        1 | $shared $industry""",
    "smallfirm": """
        2 | $firm_key $industry
        1 | $firm_key $industry $suffix
        1 | $surname , $surname & Partners
        1 | $surname $industry $suffix""",
    "club": """
        7 | $club_name
        6 | $city_plain
        5 | $shared
        2 | $city_plain United
        1 | $city_plain City
        1 | $city_plain Rovers
        1 | $city_plain Athletic
        1 | FC $city_plain
        1 | Dynamo $city_plain""",
    "franchise": """
        3 | $team_name
        3 | $shared
        2 | $city_plain
        4 | $city_plain $nickname
        1 | $shared $nickname""",
    "the_agency": "$agency_the",
    "the_relief": "$relief_the",
    "agency": "$agency_bare",
    "the_ministry": """
        3 | $ministry Ministry
        1 | Ministry of $ministry""",
    "party": "$party_name",
    "the_party": """
        5 | $party_key Party
        1 | $party_key Alliance
        1 | $party_key Front""",
    "univ": """
        2 | $univ_key University
        1 | $surname University
        1 | $univ_name
        1 | $city_plain State University""",
    "the_univ": """
        2 | University of $univ_key
        1 | University of $city_plain
        1 | University of $region""",
    "the_paper": "$paper_the",
    "paper": "$paper_bare",
    "the_journal": """
        2 | Journal of $journal
        1 | Annals of $journal""",
    "wire": """
        $firm_key News Agency
        $firm_key Press
        $firm_key Newswire""",
    "the_police": """
        3 | $city_plain Police Department
        1 | $region Highway Patrol
        1 | $surname County Sheriff 's Office""",
    "the_court": """
        $city_plain District Court
        $city_plain Crown Court
        $surname County Court""",
    "hospital": """
        $city_plain General Hospital
        $surname Memorial Hospital
        $surname Children 's Hospital""",
    "school": """
        $surname High School
        $surname_word Elementary School
        $shared Grammar School""",
    "the_fund": """
        $surname Foundation
        $surname Trust
        $given_f $surname Fund""",
    "the_lab": """
        $surname Institute
        $city_plain Institute of Technology
        $surname Research Centre
        $surname Observatory""",
    "the_orchestra": """
        $city_plain Philharmonic
        $city_plain Symphony Orchestra
        $surname Quartet
        $city_plain Ballet""",
    "the_museum": """
        $surname Museum
        $surname Gallery
        $city_plain Opera
        $city_plain Playhouse""",
    "the_bank": """
        Bank of $country
        Bank of $city_plain""",
    "the_exchange": "$city_plain Stock Exchange",
    "the_council": """
        $city_plain City Council
        $surname County Council""",
    # --- places -----------------------------------------------------------------------------------
    "city_plain": """
        8 | $city_name
        1 | $city_word""",
    "city": """
        9 | $city_name
        3 | $shared
        2 | $city_word""",
    "capital_city": "$capital",
    "land_name": "$country",
    "the_land_name": "$country_the",
    "province": "$region",
    "the_river": "$river",
    "the_sea": "$sea",
    "the_range": "$range",
    "mount": "Mount $peak",
    "lake": "Lake $surname",
    "street": """
        3 | $surname Street
        2 | $surname Avenue
        1 | $shared Road
        1 | $surname_word Square""",
    "airport": """
        2 | $city_plain Airport
        2 | $city_plain International Airport
        1 | $given $surname Airport""",
    "venue": """
        $surname Stadium
        $surname Arena
        $surname Ground
        $city_plain Coliseum""",
    "county": """
        2 | $surname County
        1 | $shared County""",
    "the_bridge": """
        $surname Bridge
        $shared Bridge""",
    # --- the rest: nationalities, faiths, events, works, things with a name -----------------------
    "nationality": "$nat",
    "tongue": "$language",
    "religion": "$faith",
    "the_tourn": """
        6 | $meet_name
        2 | $nat Open
        2 | $nat Grand Prix
        1 | $city_plain Marathon
        1 | $firm_name Classic""",
    "the_cup": """
        5 | $cup_name
        1 | $surname Cup
        1 | $surname Trophy
        1 | $nat Cup""",
    "the_pact": """
        2 | Treaty of $city_plain
        2 | $city_plain Accords
        1 | $surname Act
        1 | $city_plain Convention""",
    "the_war": """
        3 | $war_name
        1 | Battle of $city_plain
        1 | Siege of $city_plain""",
    "the_fest": """
        3 | $city_plain Film Festival
        1 | $city_plain Biennale
        1 | $city_plain Book Fair
        1 | $city_plain Jazz Festival""",
    "holiday": "$event_bare",
    "the_prize": """
        3 | $prize Prize
        2 | $prize Award
        1 | $surname Medal""",
    "old_work": "$work_name",
    "work": """
        4 | The $work_adj $work_noun
        2 | $work_adj $work_noun
        1 | The $work_noun of $city_plain
        1 | Goodbye , $city_plain
        1 | $given_f and the $work_noun""",
    "scripture": "$text",
    "storm": """
        2 | Hurricane $storm_first
        1 | Typhoon $storm_first
        1 | Cyclone $storm_first
        1 | Tropical Storm $storm_first""",
    "storm_first": """
        $given_m
        $given_f
        $given_f
        $given_place""",
    "gadget": "$product",
    "probe": "$craft",
    # --- phrases that every topic uses ------------------------------------------------------------
    "land": """
        6 | $land_name
        1 | the $the_land_name""",
    "place": """
        4 | $city
        1 | $city , $land_name
        2 | $land
        1 | $province""",
    "in": """
        6 | in $city
        1 | in $city , $land_name ,
        2 | in $land
        1 | in $province
        1 | near $city
        1 | outside $city
        1 | in $northern $land_name
        1 | in the $nationality city of $city
        1 | at a hotel in $city
        1 | on the banks of the $the_river""",
    "abody": """
        5 | the $the_agency
        3 | $agency
        3 | the $the_ministry
        1 | the $nationality $the_ministry""",
    "helpers": """
        4 | the $the_relief
        1 | the $nationality $the_relief
        1 | the $the_ministry""",
    "auniv": """
        2 | $univ
        2 | the $the_univ""",
    "aparty": """
        3 | the $the_party
        1 | $party""",
    "apaper": """
        3 | the $the_paper
        2 | $paper""",
    "time": """
        4 | on $day
        1 | on $day night
        1 | late on $day
        1 | early on $day morning
        1 | last week
        1 | this week
        1 | earlier this month
        1 | on $month #1-28
        1 | in $month
        1 | in early $month
        1 | in #1991-2019
        1 | two days ago""",
    "money": """
        3 | $ #2-90 million
        2 | $ $decimal billion
        2 | $decimal billion euros
        1 | #20-900 million pounds
        1 | #3-80 billion yen
        1 | $ $thousands""",
    "pct": """
        4 | #2-19 percent
        3 | $decimal percent
        1 | $decimal %""",
    "many": """
        $thousands
        about #20-90
        more than #100-900
        dozens of
        hundreds of
        at least #12-60
        nearly $thousands""",
    "goal": """
        $nth minute
        #34-39th minute
        last minute""",
    "personal": """
        5 | $person
        2 | $person , #24-79 ,
        1 | $honour $xlast""",
    "attrib": """
        $apaper reported $time
        $apaper said
        officials in $city said
        a spokesman for $abody said
        according to $abody
        according to a report in $apaper
        $personal told $apaper
        the $wire reported from $city
        state radio said $time
        $person of the $the_fund said
        $person said in an interview with $apaper""",
    "reported": """
        $apaper reported $time
        $abody confirmed $time
        $person told $apaper
        a source in $city said
        $honour $xlast told a news conference $in
        sources close to $person said
        the $wire said""",
    "dateline": """
        4 | ^^ $city , $month #1-28
        1 | ^^ $city , $land_name , $month #1-28""",
    # --- politics ---------------------------------------------------------------------------------
    "pol": """
        4 | $minister $person
        2 | $nationality $minister $xlast
        2 | $person , the $nationality $politico ,
        2 | President $xlast
        1 | Senator $xlast
        1 | $person of $aparty
        2 | $the_party leader $person
        1 | $party leader $person
        1 | the $politico $person
        2 | $person""",
    "pol_act": """
        raise the tax on fuel
        cut the price of bread
        free #20-900 prisoners
        close its embassy $in
        bring in a minimum wage
        withdraw its troops from $place
        lift the ban on imports from $land
        grant young farmers a loan
        rewrite the law on water
        will the palace to the state
        hold a vote on the $the_pact
        build a port near $city""",
    "pol_claim": """
        the bill may not pass before the summer
        talks with $land had broken down
        the reform was a grave error
        there was no hope of a quick deal
        the vote would mark a new chapter
        the case for a tax rise was strong
        the army would not leave $city
        young people had little reason to stay in $place
        a second term was out of the question
        the rich should pay their fair price
        the $the_pact had been broken
        $land had nothing to fear""",
    "politics": """
        $pol said the $nationality government would $pol_act before the end of the year
        $pol told reporters $in that $pol_claim
        $aparty won #20-48 percent of the vote in $city , ahead of $aparty on #9-19 percent
        $capital_city accused $capital_city of breaking the terms of the ceasefire
        voters in $province go to the polls on $day to choose between $person and $person
        $pol flew to $city for talks with $pol on trade and security
        $person , who led $aparty until #1990-2015 , was named ambassador to $land
        $abody said it would send observers to $land in $month
        lawmakers in $capital_city voted #190-260 to #20-89 to ban the sale of $nationality beef
        $person:1 resigned as mayor of $city after a row over a grant $last:1 made to a library
        $pol will visit $land , $land and $land on a tour that begins on $day
        a poll in $apaper put support for $person at $pct
        $thousands $religion protesters marched through $city to demand the release of $person
        $land and $land agreed to reopen their border near $city
        $land recalled its ambassador from $city after remarks by $pol
        the $nationality parliament approved a budget that gives more to young families
        $person beat $person by $thousands votes in the race for governor of $province
        $pol denied taking money from $firm
        $pol , a former $politico from $city , promised to $pol_act
        the $nationality president , $person , arrived in $city $time
        relations between $capital_city and $capital_city have cooled since the spy case
        $abody urged $land to let aid trucks into $city
        the mayor of $city , $person , asked $abody for $money to mend the sea wall
        $person took the oath as $minister at a ceremony in $city
        a court in $land barred $person from standing for $aparty
        $honour $xlast , #35-79 , has sat for $aparty since #1980-2010
        $aparty picked $person:1 to fight the seat of $city , where $last:1 was born
        rebels in $northern $land_name freed #3-40 $nationality hostages $time
        $pol met the families of three $nationality aid workers held in $city
        $person and $person will share power under a deal signed in $city
        the $the_ministry refused to say how much it had paid $firm for the helicopters
        $land will hold a vote on whether to leave $agency next $month
        supporters of $person threw stones at the offices of $aparty in $city
        $pol cut short a visit to $land and returned to $city
        the $the_council voted to rename $street after $person
        $apaper said $person may stand against $person in the spring
        $nationality troops backed by $nationality jets took the town of $city $time
        $many people fled $city when the shelling began
        at a summit in $city , $pol called for a new $the_pact
        diplomats from $land and $land met $pol for the $nth time this year
        the speaker , $person , asked members of $aparty to be brief
        $pol said that $pol_claim and walked out
        the $religion leader $person asked followers in $city to stay calm
        in a letter to $pol , $person wrote that $pol_claim
        $person , the candidate of $aparty , trails $person by #2-14 points in $province
        $land has #20-90 days to answer a complaint that $land lodged with $abody
        the governor of $province , $person , signed the bill into law $time
        $abody will open an office $in under $person , a $nationality $politico
        neither $person nor $person could say who would lead $aparty into the vote
        border guards in $place stopped a bus that carried #20-60 $nationality workers
        the $nationality opposition wants $minister $xlast to resign over the sale of $firm
        $pol will address $abody in $city on the rights of the $nationality minority
        $person , born in $city to a $nationality mother , speaks fluent $tongue
        at #35-79 , $person is the youngest member that $aparty has sent to $abody
        the widow of $man laid flowers at his grave in $city
        $thousands people signed a petition against the road from $city to $city
        $pol accused reporters at $apaper of printing lies about the years at $auniv
        $land cut its gift to $abody by $pct , to $money
        the treaty was signed by $person for $land and by $person for $land
        police used tear gas on students from $auniv who marched on $city
        $city has not had a mayor since $person fell ill $time
        members of $aparty walked out of the chamber when $honour $xlast rose to speak
        the $the_party and the $the_party formed a coalition under $person
        $person:1 served as $minister under $person ; $last:1 later joined the board of $firm
        peace talks between $land and $land will resume in $city $time
        a bomb went off near the $nationality embassy in $city but no one was hurt
        under the $the_pact , $land must hand over the port of $city
        $abody named $person , a judge from $land , to lead the inquiry
        $pol will not run again , which leaves $person and $person in the race
        many in $city still hope that $person will return from $land""",
    "politics_headline": """
        $pol to visit $land
        $land shuts border with $land
        Mayor of $city quits
        $aparty leads in $province poll
        $person named envoy to $land
        $capital_city denies spy claim
        Vote in $city too close to call
        $minister $xlast faces tax revolt
        $nationality troops leave $city
        $pol : " Time to $pol_act "
        Talks on $the_pact fail
        Young voters turn from $aparty to $aparty
        $abody backs $land over port
        $city mayor $person in hospital
        Factbox - key facts about $land
        Will $person stand again ?
        Bill on $nationality beef may rise again""",
    "politics_quote": """
        " ^ We may not like the bill , but we will obey it , " $pol said .
        " ^ There is hope for $city yet , " said $person , the mayor .
        $pol said : " ^ I will not be a target for the young men of $aparty . "
        " ^ Mark my words , " $honour $xlast told $city , " $land will pay the price . "
        " ^ Who will foot the bill ? " asked $person of $aparty .
        " ^ My heart is in $city , " $person told $apaper , " but my work is in $city . "
        Asked about $person , $pol said : " ^ No comment . "
        " ^ $land is our friend , " $pol said . " ^ So is $land . " """,
    "politics_aside": """
        in the hope that the long crisis may soon end
        a day after the grant to young farmers was cut
        as the price of bread rose across the board
        even though few will read the small print
        at the end of a long and hard winter
        despite a warning from $abody
        just days before the vote in $city
        according to a white paper seen by $apaper
        with $land and $land looking on
        while talks over the bill went on in $city
        as the day of the vote drew near
        with one eye on the polls in $province
        in a sharp break with the past
        which may mark a new dawn for $land""",
    # --- business ---------------------------------------------------------------------------------
    "exec": """
        3 | $boss $person
        2 | $person , $boss of $xfirm ,
        2 | $xfirm $boss $person
        1 | $person , who runs $firm ,
        1 | $honour $xlast
        1 | analyst $person of $firm
        1 | $person , an analyst at $firm ,
        1 | $person""",
    "co": """
        5 | $firm
        3 | the $nationality $maker $xfirm
        1 | $firm , a $maker based in $city ,
        1 | $firm , the $maker ,
        1 | $maker $xfirm""",
    "business": """
        shares in $xfirm rose $pct to $ #10-400 in $city after the $maker raised its profit target
        $co said it would cut $thousands jobs in $land by the end of $month
        $co agreed to buy $xfirm from $xfirm for $money
        $xfirm posted a net profit of $money in the $quarter quarter , from $money a year ago
        $exec said demand for $goods in $land was strong
        $co will open a $goods plant near $city , its $nth in $land
        $person will succeed $person as $boss of $xfirm on $month #1-28
        the $the_bank left its key rate at $pct $time
        on the $the_exchange , the main index fell $pct , led by $xfirm and $xfirm
        $xfirm and $xfirm will share the cost of a new $goods plant in $city
        analysts at $firm cut their price target for $xfirm to $ #10-400
        $co won an order worth $money to supply $goods to the $nationality army
        workers at the $xfirm plant in $city went on strike $time over pay
        the $nationality economy grew $pct in the $quarter quarter , the $the_ministry said
        exports of $goods from $land to $land fell $pct in $month
        $co named $person , formerly of $xfirm , as its $boss
        $abody fined $smallfirm $money for rigging the price of $goods
        $exec told investors in $city that sales of the $gadget would pass $thousands
        $co plans to sell its $goods business to $firm
        unions at $xfirm fear for the future of its plant in $city
        the $nationality $maker $xfirm is in talks to merge with $xfirm of $land
        $person bought #3-40 percent of $xfirm through a fund , $firm
        $co recalled $thousands of its $gadget after complaints in $land
        traders in $city said the price of $goods may rise as the harvest in $province was poor
        $xfirm shares closed at $ #10-400 , down $pct
        $co paid $money for a site on $street in $city
        $land will sell its stake in $firm to $firm , $minister $person said
        a strike by pilots at $xfirm grounded #20-90 flights from $airport
        $exec expects the merger with $xfirm to save $money a year
        $xfirm makes one $gadget in five at its plant in $city
        bonds issued by $land fell after $firm cut its outlook
        $co , which employs $thousands people in $land , was founded by $person in #1890-1985
        $firm will lend $money to $firm for a wind farm off $province
        the $the_paper said $xfirm may bid for $xfirm
        $xfirm of $land and $xfirm of $land signed the deal in $city
        rising sales of $goods lifted profit at $xfirm by $pct
        $firm , $firm and $firm all raised the price of $goods $time
        oil from the $the_sea pushed output at $firm to a record
        $exec said the $maker would not cut jobs in $city
        small shops in $city have lost trade to $xfirm
        the yen rose against the dollar after the $the_bank spoke of a rate rise
        $person:1 left $xfirm to start $firm with $person , whom $last:1 had met at $auniv
        $land lowered the tax on $goods from $land to #2-20 percent
        at #24-45 , $person became the youngest $boss $xfirm has had
        $co won the right to sell the $gadget in $land
        investors sold $xfirm and bought $xfirm as $goods prices fell
        gross domestic product in $land fell $decimal percent , $abody said
        $xfirm has bought the name , brand and stock of $xfirm
        $co will move its head office from $city to $city
        the chairman of $xfirm , $person , bought #200-900 shares $time
        retail sales in $land were flat in $month , the $the_ministry said
        $firm shares were the day 's best in $city , up $pct
        $exec blamed the loss on a weak market for $goods in $land
        $xfirm sued $xfirm over the design of the $gadget in a court in $city
        $money was wiped off the value of $xfirm in a day
        bank lending in $land rose $pct in $month , the $the_bank said
        the port of $city handled $thousands tonnes of $goods $time
        $co says its new $gadget will sell for $ #20-900 in $land
        growers in $province expect a good year for $crop
        $firm hired $person from $firm to head its office in $city
        the airport at $city will be run by $firm for #10-40 years
        tourism in $place is worth $money a year , $exec said
        $xfirm ended the day at #100-900 pence , a rise of #2-40 pence
        $exec refused to say whether $xfirm would bid for $firm
        $land and $land ended their row over the tax on $goods
        $firm and its rival $firm both missed the target set by $abody
        the pension scheme of $firm sold its shares in $xfirm
        a judge in $city let $firm end its deal with $firm
        $person , the $boss , owns #2-30 percent of $xfirm and a cousin , $person , #2-9 percent
        a fire at a $xfirm warehouse in $city caused a loss of $money""",
    "business_headline": """
        $xfirm shares rise $pct
        $xfirm to cut $thousands jobs
        $firm bids $money for $xfirm
        $xfirm profit beats target
        $person to head $xfirm
        $goods prices rise in $city
        $firm opens plant in $city
        $nationality inflation at $pct
        Stocks close lower in $city
        $xfirm and $xfirm call off merger
        Research alert - $firm cuts $xfirm
        Shell shock for $nationality brewers
        $city shares end lower , $xfirm falls
        $land sells bonds worth $money
        $xfirm Q#1-4 net $ $decimal mln vs $ $decimal mln
        Orders lift $xfirm""",
    "business_quote": """
        " ^ We will not chase growth at any price , " $exec said .
        " ^ The market may turn , " said $person , an analyst at $firm .
        " ^ It was a good day to sell , " said a trader at $firm in $city .
        $exec said : " ^ Demand in $land rose for the $nth month . "
        " ^ Small is beautiful , " said $person , who left $xfirm to open a shop in $city .
        " ^ The $gadget is an apple among pears , " $exec told $apaper .
        " ^ Our target is to be first in $land , " said $person , $boss of $xfirm .
        " ^ No bank will lend us a penny , " said $person , a farmer in $province .""",
    "business_aside": """
        in the hope that prices will rise by next spring
        a month after the market hit its low mark
        though the tax bill may be a good deal higher this time
        as the price of gold lost its shine
        in line with a forecast by $firm
        just as fuel bills rose again
        at a time when cash is king
        with the target for the year still in reach
        in a sharp turn from last summer
        as small investors ran for cover
        while banks in $city braced for a rate rise
        in its best month since #1990-2015
        as the long boom in $goods came to an end
        with no end to the price war in sight""",
    # --- sport ------------------------------------------------------------------------------------
    "player": """
        4 | $position $person
        3 | $nationality $position $xlast
        2 | $club $position $person
        1 | $person , the $club $position ,
        2 | $nationality international $person
        1 | #17-38-year-old $person""",
    "champ": """
        3 | $person
        3 | $person of $land
        2 | $nationality $athlete $person
        1 | $athlete $person
        1 | #17-38-year-old $person""",
    "sport": """
        $club beat $club $goals in the $the_cup $time
        $player scored twice as $club beat $club $goals at home
        $club drew $draw with $club $in $time
        $champ won the #100-800 metres in $sprinttime seconds
        $champ beat $champ $set $set to reach the $nth round of the $the_tourn in $city
        $club coach $person will drop $player for the match against $club
        $club signed $player from $club for $money
        $player put $club ahead in the $goal and $player made it $goals before the break
        $club lost $goals at $club but stayed top of the table
        $player , on loan from $club , broke a leg in training
        $champ took the gold medal at the $the_tourn , ahead of $champ and $champ
        $champ set a world record of $sprinttime seconds $in
        $person of $land won the $city_plain stage by #12-59 seconds
        $club striker $xlast missed a penalty in the $goal
        $club midfielder $xlast was sent off for a foul on $player
        $club have sacked coach $person after a run of #3-9 defeats
        rain stopped play in the match between $club and $club
        $champ will miss the $the_tourn in $city with a knee injury
        $nationality champion $xlast beat $nationality qualifier $xlast $set $set
        top seed $person lost to $person , a qualifier from $city , $set $set $set
        $person:1 of $land led $person for #3-40 laps before $last:1 crashed
        $club will play $club in the final at $venue $time
        $land will host the $the_tourn in #2002-2030
        $person , who coached $club for #2-12 seasons , will take over at $club
        $thousands fans saw $club beat $club at $venue
        fans of $club and $club fought before the game in $city
        $agency fined $club $ $thousands after fans threw coins at $player
        $champ leads $champ by #2-40 seconds after the $nth stage from $city to $city
        $player made a debut for $club against $club $time
        goals by $person and $person gave $club a $goals win over $club
        $person saved a late shot from $person to keep $club in the $the_cup
        $champ hopes to fight $champ for the world title in $city
        $player has scored #10-40 goals for $club this season
        $person led all scorers with #20-48 points as $franchise beat $franchise $points
        the $nationality team trained in $city before the flight to $land
        $champ , the holder , was a stroke behind $champ in the $the_tourn
        $club goalkeeper $person let in a soft goal and $club won $goals
        $club are a point clear of $club with #2-12 games to play
        $person pitched a shutout as $franchise blanked $franchise #2-9-0 in $city
        the captain of $club , $person , lifted the cup for the $nth time
        $player agreed a #2-5-year deal with $club $time
        $club full back $xlast has a hamstring strain and may not face $club
        $champ failed a drug test at the $the_tourn and was sent home to $land
        victory over $club took $club into the last eight of the $the_cup
        $person beat $person on points over 12 rounds in $city
        $champ rode a strong race to win the stage to $city
        $club play their home games at $venue in $city
        in the other semi-final , $club beat $club on penalties after a $draw draw
        $player headed $club level from a corner by $player
        $champ won the pole vault and $champ the high jump
        $person and $person of $land won the doubles against $person and $person of $land
        $club owner $person put the club up for sale for $money
        coach $person:1 left $player , whom $last:1 distrusts , out of the squad to face $club
        a crowd of $thousands in $city watched $champ win the $the_tourn
        $club , without $player , lost $goals at home to $club
        $champ will marry $champ in $city after the $the_tourn
        $club bought $person from $club and sold $person to $club
        $champ missed the cut at the $the_tourn by a stroke
        referee $person of $land showed $player a red card in the $goal
        $person ran for #101-190 yards and a touchdown as $franchise beat $franchise #20-48 - #3-19
        $franchise centre $person had #10-22 rebounds as $franchise lost $points
        $franchise traded $person to $franchise for $person and a draft pick
        the derby between $club and $club ended $draw
        $woman:1 won the $the_tourn in her home city of $city with her coach , $person
        $man:1 of $club said he would fly to $city to see a doctor about his knee
        $player was born in $city but will play for $land
        $agency banned $club from the $the_cup over unpaid wages
        $champ became the first $athlete from $land to win the $the_tourn
        $champ came home third , $decimal seconds behind $champ
        $club came from behind to beat $club $goals with a goal by $person
        $the_cup winners $club were held $draw by $club
        $player will join $club when a deal with $club runs out in $month""",
    "sport_headline": """
        $club $goals $club
        $club beat $club $goals
        $club sign $person from $club
        $champ wins $the_tourn
        Tennis - $person beats $person in $city
        Soccer - $club coach $person quits
        $club through to $the_cup final
        Cycling - $person leads in $province
        $nationality squad for $the_cup
        Athletics - $person sets record in $city
        Basketball - $franchise $points $franchise
        Young star rises for $club
        $club held by $club
        Boxing - $person to fight $person
        $club eye $club striker $xlast
        Golf - $person two ahead in $city""",
    "sport_quote": """
        " ^ We will take it one game at a time , " said $club coach $person .
        " ^ The young players gave me hope , " $person said after $club lost at $club .
        " ^ It was a long day , " said $champ , who won in $sprinttime seconds .
        $club captain $person said : " ^ We rose to it . "
        " ^ I may never play in $city again , " $player said .
        " ^ $club will be hard to beat , " said $person , the coach of $club .
        " ^ My serve let me down , " $person said after losing $set $set to $person .
        " ^ It is a price worth paying , " said $club chairman $person .""",
    "sport_aside": """
        in front of a crowd of $thousands
        on a day of rain and sharp winds
        as the season drew to a close
        in the heat of $city
        with the long winter break still a week away
        a day after the best young players were named
        in a mark of how fast the game may change
        as hope of a title rose in $city
        on a field still white with frost
        with a place in the record books at stake
        despite the best efforts of $player
        according to the new coach , $person
        though few will read much into it
        as $thousands home fans sang in the rain""",
    # --- culture ----------------------------------------------------------------------------------
    "star": """
        4 | $nationality $artist $person
        3 | $artist $person
        2 | the $artist $xlast
        3 | $person
        1 | $person , a $artist from $city ,""",
    "opus": '" $work "',
    "piece": """
        4 | " $work "
        2 | " $old_work "
        3 | $old_work""",
    "culture": """
        $star won the $the_prize for the $art $opus
        the $art $opus , by $star , opens in $city $time
        $star will play the lead in a film of $piece directed by $star
        $star was born in $city in #1890-1985 and studied at $auniv
        $star died in $city $time at the age of #60-99 , $apaper said
        the $the_orchestra will perform $piece in $city under $person
        the $the_museum in $city has bought a portrait of $person by $star
        $opus was written in $tongue and has been read in #12-40 countries
        $star sang $piece to a full house in $city
        a lost letter from $person to $person was sold for $money in $city
        the $the_fest will open with $opus , the first $art by $star
        $star and $star shared the $the_prize for $opus
        critics in $city praised $opus but $apaper called it dull
        $star gave a reading from $opus at $auniv
        $person , who plays a young cook in $opus , grew up in $place
        the memoir tells how $star left $city for $city during the $the_war
        $star turned down the $the_prize in protest at the price of tickets
        in $city , families marked $holiday with songs and fresh bread
        $star has sold $thousands copies of $opus in $land alone
        a copy of the $scripture in $tongue was found in a church in $city
        $star will tour $land and $land with songs from $piece
        the director $person shot $piece on a hill near $city
        $opus , a $art about the $the_war , took #2-40 years to write
        $star and $star named their baby $first
        $firm will publish $opus , the new $art by $star , in $month
        the $the_museum will lend #3-40 paintings by $star to a show in $city
        $star was named artist of the year at the $the_fest
        the role of the bishop in $piece went to $person after $person fell ill
        a street in $city will be named after $star
        $star learned to paint from $person in a village near $city
        thousands lined the streets of $city for the funeral of $star
        the $nationality dish of rice and lamb is served at $holiday
        $star , best known for $opus , turned #40-90 on $day
        the new $art by $star is set in $city at the time of the $the_war
        $star gave $money to the $the_fund for young artists
        the choir of $school sang carols on $street in $city
        a $nationality chef , $person , opened a small place on $street
        visitors to $city can see the house of $person:1 , where $last:1 wrote $opus
        $star said that $opus was based on the life of $person
        the $the_orchestra named $person , a $nationality $artist , as its head
        for the role $man:1 learned $tongue and spent a winter in $city
        her $art $opus made $woman:1 famous in $land
        the manuscript of $opus went to $auniv after the death of $person
        on $holiday the $religion people of $city light lamps by the water
        the jury , led by $star , gave the $the_prize to $opus
        $star walked out of the $the_fest over a review in $apaper
        $opus beat $opus to the $the_prize
        $star wrote $opus in #3-40 days in a hotel room in $city
        $star paid tribute to $person , a mentor at $auniv
        the film $piece stars $person as a spy sent to $city
        a plaque on $street in $city marks the birthplace of $star
        the band played #12-30 songs in $city , ending with $piece
        $star designed the costumes for $piece , which has its premiere in $city
        an early recording of $piece by $star turned up in a barn in $province
        the $religion festival draws $thousands pilgrims to $city each $month
        $star reads the $scripture in $tongue every day
        the $the_museum closed its doors $time for want of money
        tickets for $piece at the $the_museum sold out in #12-40 minutes
        $star called $star the best $artist of the age
        $star was fluent in $tongue and wrote a book on $city
        a bronze of $person will stand on $street
        $star sold the rights to $opus to $firm for $money
        for $person , the $artist , $city was home
        $piece has been banned in $land since #1960-2005
        the library of $auniv holds the papers of $star
        $star and the $the_orchestra recorded $piece in $city
        the poems were put into $tongue by $person
        $star has not been seen since the $the_fest in $month
        $opus took $money in its first week in $land
        the $the_fund gave $star a grant to finish $opus""",
    "culture_headline": """
        $star wins $the_prize
        " $work " opens in $city
        $artist $person dies at #60-99
        Review : " $work " by $person
        $city to mark $holiday with music
        $person to star in " $work "
        " $work " tops $nationality chart
        Books - $person on life in $city
        Young $artist rises in $city
        Crowds in $city for $the_fest
        $the_orchestra plays $city
        $nationality film wins $the_prize
        Interview - $person , $artist
        A rose for $person
        $the_museum buys lost $nationality painting""",
    "culture_quote": """
        " ^ I may write one more book , " $star told $apaper .
        " ^ $work " is " a joy from first page to last , " $apaper said .
        " ^ Hope is the theme of the $art , " said $star .
        " ^ I owe it all to $person , " $star said in $city .
        $star said : " ^ The young should read the $scripture . "
        " ^ $city is a stage , " $star wrote to $person , " and the rain has the best part . "
        " ^ It is a rich role , " $person said of $piece .
        " ^ No one in $land paints like $person , " said $star .""",
    "culture_aside": """
        to the joy of readers young and old
        a rare bright day for the arts
        as the season of summer fairs began
        in a year that may mark a turn in taste
        as the price of old books rose
        despite a sharp review in $apaper
        according to a note by $star
        in the hope of a grant from the $the_fund
        just before dawn on $day
        on the eve of $holiday
        with no bill to pay for the city
        as long as the money will last
        to the surprise of many in $city
        after weeks of talk in $apaper""",
    # --- crime ------------------------------------------------------------------------------------
    "accused": """
        4 | $person , #18-79 ,
        3 | $person
        2 | $person , a $suspect from $city ,
        1 | a $suspect , $person ,
        1 | $nationality $suspect $person
        1 | #18-70-year-old $person""",
    "force": """
        3 | police in $city
        3 | the $the_police
        2 | $city police
        1 | customs officers at $airport
        1 | a $officer in $city""",
    "crime": """
        $force arrested $accused after $loot was found in a car on $street
        $accused was jailed for #2-25 years by a court in $city for a bank raid
        a judge in $city freed $accused for want of proof
        $accused told the $the_court that $loot came from a man in $city
        $force are looking for two men who held up a bank on $street $time
        the body of $accused was found near $lake $time
        $officer $person said the case against $accused was strong
        $accused pleaded guilty in the $the_court to the theft of $loot
        $force seized #20-900 kilos of cocaine on a boat from $land
        three $nationality tourists were robbed near $airport $time
        $accused was shot in the leg outside a bar in $city
        the $the_court heard that $accused had sold fake shares in $smallfirm
        prosecutors in $city charged $accused with fraud at $smallfirm
        $accused escaped from a prison near $city in a bread van $time
        $force said $accused was last seen at a station in $city
        a jury in $county took #2-20 hours to find $accused guilty
        $person , who will defend $accused , said the bill for the trial was too high
        $accused was held at $airport with $loot in a bag
        $force found $loot in a flat that belonged to $person
        $accused , once a clerk at $firm , stole $money from the bank
        a bomb hidden in a shell of bread was found near the $nationality embassy in $city
        $agency issued a notice for $accused , who is thought to be in $land
        a guard at a $xfirm store in $city was hurt in the raid
        the trial of $accused and $accused opens in $city $time
        the $the_court fined $smallfirm $money for the spill near $city
        $accused was taken to $hospital with a head wound
        $land asked $land to hand over $accused , wanted for the murder of $person
        two brothers , $person and $person , were charged with the theft of $loot
        $officer $person found a mark on the door of the house in $city
        $force rescued $person , #4-15 , from a cellar on $street
        the judge , $person , told $accused that the crime was a savage one
        witnesses saw $person:1 throw a stone at a van on $street before $last:1 ran off
        $force blocked the road between $city and $city to look for $accused
        $accused sent a letter bomb to $person at the offices of $apaper
        $accused was put on bail of $ $thousands by a judge in $county
        $officer $person of the $the_police asked the public for help
        a $suspect was stabbed on a train from $city to $city
        $accused denied forging the will of $person
        a gang from $city stole $loot from the $the_museum $time
        $person , the victim , ran a shop on $street in $city
        $force have closed the case of $person , who vanished in #1975-2012
        at the $the_court , $accused got #2-25 years
        the parents of $person thanked $force for their work
        $nationality police handed $accused over to $land at the border
        $accused spent #2-25 years in a jail in $land before the $the_court ordered a new trial
        the $the_ministry said guards at the jail in $city had been sacked
        $force fired shots in the air to break up a fight on $street
        a ring that brought $nationality workers into $land was broken up $time
        $accused hid $loot under the floor of a house in $place
        lawyers for $accused said the $officer , $person , had lied
        $accused was killed when a car hit a wall on $street
        $honour $xlast told the jury that $accused had been in $city all day
        the $officer in the case , $person , retired to $place
        $accused will appeal against a term of #2-25 years imposed in $city
        a student at $auniv was charged with the theft of $loot
        a pupil at $school , $person , #9-17 , found $loot in a field
        the $the_police said no charge would be brought against $person
        $accused , who worked for $abody , is said to have spied for $land
        masked men took $person and a young son , $first , from a hotel in $city $time
        $force let $person go without charge
        $person paid $money to the men who held a friend in $city
        an owner of $smallfirm , $person , was found dead in $land
        a court in $land cleared $accused of the murder of $person and $person
        dogs led $force to a hut near $mount where $accused was asleep
        $accused stole a boat at $lake and was caught in $city
        a letter from $accused to $person was read out in the $the_court
        $officer $xlast said a neighbour heard a shot at about $clock
        the $the_police named the dead man as $person , #18-79 , of $city
        $accused took $person hostage on a bus near $city
        $abody will look into the death of $accused in a cell in $city""",
    "crime_headline": """
        Man held over theft in $city
        $person jailed for #2-25 years
        $city police find $person
        $nationality judge frees $person
        Bank raid in $city
        Trial of $person opens in $city
        $the_police hunts $person
        Two held in $land over $city raid
        $person guilty
        Body found near $lake
        Jail term for $nationality $suspect
        Shot fired on $street
        Fraud case at $smallfirm collapses
        $person : why I stole
        $agency seeks $person""",
    "crime_quote": """
        " ^ He may be armed , " $officer $person said of $person .
        " ^ I will not rest , " said the mother of $person in $city .
        " ^ The mark on the gun is clear , " $officer $xlast told the $the_court .
        $accused told the $the_court : " ^ I was in $city that day . "
        " ^ No one is safe on $street , " said $person , a $suspect .
        " ^ We hope to bring $person home , " said $officer $person .
        The judge told $accused : " ^ You will pay a high price . "
        " ^ Good riddance , " a man shouted as $person left the $the_court .""",
    "crime_aside": """
        a day after a young boy found the gun
        while banks of cameras rolled outside
        in a case that may run until the autumn
        under a law passed last summer
        a long way from the scene of the crime
        as the hunt went on in the woods near $city
        on the word of $person , a $suspect
        in a week that saw the price of crime rise
        despite a plea from $person
        as two more men were held in $city
        with no hope of a quick end to the case
        a month before the bill on gun law was read
        at the end of a long trail from $land
        close to a church on $street""",
    # --- weather ----------------------------------------------------------------------------------
    "weather": """
        $storm hit the coast near $city $time and killed #3-90 people
        heavy $shower fell on $city and $city overnight , $helpers said
        a quake of magnitude $richter shook $city , #20-300 km $compass of $city
        $storm , now over the $the_sea , is moving $compass at #12-40 km an hour
        floods along the $the_river drove $many families from their homes
        the temperature in $city rose to #30-48 degrees , a record for $month
        snow closed the road over $mount and cut off $city
        fires in $province burned $thousands hectares of wood
        $many people left $city before $storm came ashore
        ash from $mount shut $airport for the $nth day
        the $the_relief warned that $storm would reach $land on $day
        $forecaster $person said the drought in $province may last until $month
        winds of up to #90-240 km an hour tore roofs from houses in $city
        villages at the foot of $mount were cut off by a landslide
        the water in $lake fell to its lowest mark since #1950-2005
        $land asked $helpers for tents after $storm
        the $the_river burst its banks near $city and a bridge was swept away
        $many flights out of $airport were called off as $gloom closed in
        $person , a $forecaster from $city , was rescued from $mount after #2-9 days
        $storm weakened as it crossed $province and drenched $city
        ice on $lake was thin , $forecaster $person said
        a heatwave killed #12-90 people in $northern $land_name , most of them in $city
        $city had #20-200 mm of rain in a day , more than it gets in a summer
        a ferry with #20-400 people on board sank off $city in a storm
        lightning killed $person and #2-9 cows on a farm near $city
        fog on the road from $city to $city caused a crash that killed #2-12 people
        $helpers sent rice and blankets to $city after the quake
        $storm is the $nth storm of the season in the $the_sea
        farmers in $province hope for rain before the end of $month
        a wave #3-19 metres high struck the coast of $land
        the eye of $storm passed within #20-200 km of $city
        in $city , $woman:1 lost her home to $storm and slept in a school
        dust from the $the_range turned the sky over $city orange
        the worst frost since #1950-2005 hit vines in $province
        trains between $city and $city were halted by $gloom
        $person of $auniv said storms such as $storm would grow stronger
        snow fell in $city for the first time since #1950-2005
        soldiers dug $person and two others out of the snow on $mount
        a dam on the $the_river above $city may fail , engineers warned
        $minister $person flew over $city to see what $storm had done
        the $the_bridge in $city was shut because of high winds
        tides in the $the_sea will peak $time
        $storm left $thousands homes in $land without power
        the rains came late to $province and early to $province
        $sky gave way to $sky in $city $time
        the smoke from fires near $city could be seen from $city
        a mudslide buried #3-40 houses in $city , $land_name
        a search for $person:1 on $mount ended when $last:1 was found in a hut near $city
        $many tourists were stuck on $mount when $storm struck
        the Met team at $auniv has tracked $storm since $day
        $storm lost strength over $land and was renamed by $helpers
        cod stocks in the $the_sea shrank by $pct in #10-40 years
        $land declared a state of emergency in $city and $province
        $city was dry but $city had hail the size of a golf ball
        a tornado touched down in $county , #12-60 miles $compass of $city
        the cold killed #3-40 people in $city , $apaper said
        people in $city fled to the roofs as the $the_river rose
        the quake was felt in $city , $city and $city
        an avalanche near $city killed three $nationality skiers
        $city will have $sky in the morning and $sky later in the day
        school was out in $county as $gloom fell on $city
        the $nationality navy took $many people off an island after $storm
        rain washed out the $the_tourn in $city
        the wind blew a tree onto the car of $person in $city
        $firm said its insurers would pay $money for damage by $storm
        $helpers put $city on red alert as $storm drew near
        the harvest in $province was spoilt by hail , $forecaster $person said
        $mount sent a cloud of ash over $city and $city $time
        in $land , $storm tore up power lines , closed $airport and flooded $street in $city
        $forecaster $person , #24-79 , has kept a record of rain in $city since #1950-2005""",
    "weather_headline": """
        $storm nears $city
        Quake shakes $city
        Floods hit $province
        Snow shuts $airport
        $storm kills #3-90 in $land
        Weather - $city , $sky
        $mount wakes
        Fires near $city
        Heat record in $city
        $land braces for $storm
        Rain at last in $province
        Rivers rise in $northern $land_name
        Ferry sinks off $city
        Hope for climbers on $mount fades
        $thousands flee $storm""",
    "weather_quote": """
        " ^ It may snow again , " said $person , a $forecaster in $city .
        " ^ The river rose in an hour , " $person of $city told $apaper .
        " ^ $storm was a monster , " said $person , who lost a roof .
        " ^ We hope the wind will drop , " said $forecaster $person .
        " ^ I read the sky , not the paper , " said $person , a $forecaster from $province .
        " ^ I will stay in $city , " $woman said .
        $forecaster $person said : " ^ The worst of $storm is over . "
        " ^ In $city we are used to $sky , " $person said .""",
    "weather_aside": """
        with more $sky to come in the next few days
        as the glass fell and hope with it
        though the sun may shine by $day
        after a long dry winter
        a mark not seen since #1950-2005
        as strong winds tore through $city
        just as young lambs were put out to grass
        in spite of a warning from $helpers
        with fields of rice under water
        as snow lay deep on $mount
        a day after $helpers sent out the first boats
        according to $forecaster $person
        in the wettest $month since #1950-2005
        as the price of fuel rose again""",
    # --- science ----------------------------------------------------------------------------------
    "expert": """
        3 | $person , a $scholar at $auniv ,
        3 | $scholar $person
        2 | $nationality $scholar $person
        1 | Dr $xlast
        1 | Professor $xlast
        1 | $person of $auniv
        1 | $person of the $the_lab
        1 | $person""",
    "science": """
        $expert found a new $species in a cave near $city
        a study in the $the_journal links $ill to the air in $city
        $agency_craft will launch the $probe from a pad in $land in $month
        $expert won the $the_prize for work on $ill
        the $probe sent back its first pictures $time , $agency_craft said
        $expert and $expert wrote in the $the_journal that the $species may die out by #2030-2090
        $auniv and $smallfirm will test a drug for $ill on #20-900 people in $land
        researchers at $auniv said the $species lives only in the hills of $province
        a team led by $expert dug up bones of a $species near $city
        the $the_lab in $city will share a grant of $money with $auniv
        the telescope on $mount saw the flash at $clock , $expert said
        $person , who found the $species , taught at $auniv until #1960-2010
        $land will send $person into space on the $probe in #2004-2030
        doctors at $hospital gave $person a new heart $time
        a child in $city has $ill , $abody said
        cases of $ill in $land rose by $pct in $month
        $abody will ship $thousands doses of vaccine to $city
        the ice core was drilled on $mount by $expert
        the $the_journal withdrew a paper by $expert on $ill
        $expert said the $probe would reach the planet in $month
        $abody banned the trade in $species shells from $land
        $auniv named $person , a $scholar from $city , as its head
        divers found a wreck from the $the_war in $lake
        $expert has spent #10-40 years on the $species of the $the_range
        scientists in $city grew a $species from a single cell
        the fossil , found in $province by $person , is #20-400 million years old
        $expert measured the flow of the $the_river at $city
        a rocket built by $firm blew up on its pad in $land
        the trial of the drug at $hospital was led by $expert
        $gadget users sleep less , a study at $auniv found
        $expert told a meeting in $city that the data from the $probe were sound
        fewer than #20-900 of the $species are left in $place
        $person and $person , both of $auniv , share the $the_prize
        a stone with $tongue writing was dug up near $city by $person
        $expert , #30-79 , was the first $scholar from $land to win the $the_prize
        children in $city eat more fish than those in $city , $expert found
        the $probe flew within #20-900 km of the comet $time
        contact with the $probe was lost $time , $expert said
        $smallfirm will build a plant in $city to make a drug for $ill
        $expert mapped the bed of $lake with sonar
        the $the_fund gave $auniv $money for a chair in physics
        a letter in the $the_journal by $expert says the $species is a relic
        the zoo in $city sent a $species to the zoo in $city
        the drug , made by $smallfirm , was approved by the $the_ministry $time
        $man:1 cycled from $city to $city to raise money for work on $ill
        the bones were sent to $expert for dating
        water from the $the_river carries $ill to $city
        a fund set up by $person will pay for $many trees in $province
        $expert taught a parrot #20-90 words of $tongue
        the age of the $species was put at #20-200 years by $expert
        a grant from $abody let $expert sail to the $the_sea
        $agency_craft put $person , a $nationality pilot , in charge of the $probe
        the $the_pact on the $species was signed in $city by $land and $land
        $hospital in $city will test the cells of $person
        $expert built the first $nationality computer at $auniv in #1948-1965
        at $auniv , $expert showed that the $species can count
        the crater near $city was made by a rock the size of $city
        $expert doubts that the scroll of the $scripture found at $city is old
        people in $province live longer than those in $province , says the $the_journal
        the $probe carries a camera made at $auniv
        $expert will lead a team of #12-40 to $mount
        the $probe was named by $woman , #9-17 , of $city
        astronomers in $land saw the comet from $mount
        $expert and the $officer $person looked at the bones from $lake
        $expert said that work on $ill in $land lacked money
        $person:1 , who had $ill , died in $city , where $last:1 had taught since #1950-1995
        the $species , last seen near $city in #1890-1985 , is back
        $person left $auniv to run the laboratory of $smallfirm in $city
        students at $school sent a balloon from $city to the edge of space
        nuclear waste from $land will be stored at $city , the $the_ministry said""",
    "agency_craft": """
        2 | $agency
        1 | the $the_agency""",
    "science_headline": """
        New $species found in $province
        $probe reaches orbit
        $expert wins $the_prize
        $land to send $probe into orbit
        Study links $ill to diet in $city
        New cases of $ill in $city
        $smallfirm drug for $ill fails test
        $species returns to $province
        $probe goes silent
        $person , $scholar , dies at #60-99
        Health - $ill in $land
        Fossil from $province stuns $scholar
        $auniv team grows heart cells
        Ice melts on $mount
        Vaccine reaches $city""",
    "science_quote": """
        " ^ We may never know , " said $expert .
        " ^ The $probe will mark a new dawn , " $expert told $apaper .
        " ^ There is hope for people with $ill , " said $expert .
        " ^ I read the paper by $person in one night , " said $expert .
        " ^ The field is wide open , " $expert said in $city .
        $expert said : " ^ The $species rose from the dead . "
        " ^ It weighs less than an apple , " $person of $auniv said of the $species .
        " ^ No one in $land had seen a $species like it , " $expert wrote in the $the_journal .""",
    "science_aside": """
        in the hope that a cure will follow
        a target that may take a long time to reach
        as the price of gene tests fell
        in a case that reads like fiction
        a wise step , in the eyes of many in the field
        as $gloom swept the camp near $mount
        for the $nth time since #1960-2005
        according to the $the_journal
        with help from $auniv
        in a mark of how fast the field may grow
        thanks to a grant from the $the_fund
        just as money for young scientists runs short
        though the bill will be high
        to the joy of a small team in $city""",
    # --- lines that are not prose, and round-ups long enough to need more than one window ---------
    "match_line": """
        2 | $club #0-5 $club #0-5
        2 | $club $goals $club""",
    "game_line": "$franchise #80-99 $franchise #100-124",
    "table_line": "$club #8-38 #1-20 #1-9 #1-9 #12-70 #9-60 #12-70",
    "rank_line": """
        4 | $person ( $land_name )
        1 | $person of $land_name""",
    "time_line": """
        $person ( $land_name ) $racetime
        $person ( $land_name ) $laptime""",
    "pair": "$person and $person ( $land_name )",
    "tennis_line": "$person ( $land_name ) beat $person ( $land_name ) $set $set",
    "rate_line": "$xfirm $ #10-400 , up $pct",
    "sky_line": "$city $sky #2-40",
    "brief": """
        $person of $land_name was $nth
        $person was $nth for $land
        $person and $person tied for $nth
        $person of $club was named player of the month""",
    "person_list": """
        $person of $place
        $person , a $suspect from $city
        $person of $aparty
        $person of $firm
        $scholar $person of $auniv
        $artist $person""",
    "line": """
        2 | $match_line
        2 | $table_line
        2 | 1. $time_line
        1 | #2-12. $time_line
        1 | $game_line
        1 | $tennis_line
        1 | $tennis_line $set
        1 | Scorers : $person #2-44 , $person #45-90
        1 | Scorers : $club - $person ( #2-44 ) ; $club - $person ( #45-90 ) . Gate : $thousands
        1 | At $city : $match_line
        1 | At $venue , $city : $club v $club
        1 | By $person , $city
        1 | - $person , $city newsroom
        1 | ( Reporting by $person in $city ; editing by $person )
        1 | $day 's results in the $the_tourn :
        1 | Leading prices in $city : $rate_line ; $rate_line
        1 | Weather at $clock GMT : $sky_line , $sky_line , $sky_line
        1 | Doubles : $pair beat $pair $set $set
        1 | Born on this day : $artist $person , #1800-1950
        1 | Flight from $city to $city : $ #90-900 ; from $city to $city : $ #90-900""",
    "roundup": """
        4 | Results from the $the_cup $time : $five_matches .
        2 | Standings : $table_line ; $table_line ; $table_line ; $table_line ; $table_line .
        2 | Final placings : 1. $rank_line 2. $rank_line 3. $rank_line 4. $rank_line 5. $rank_line
        2 | Among the guests were $person_list , $person_list , $person_list and $person_list .
        1 | Among the missing were $many_people .
        1 | Results $time : $ten_matches .
        1 | Order of finish : $ten_ranks
        1 | Weather at $clock GMT : $ten_skies .
        1 | The fund holds shares in $six_firms and $xfirm , $exec said .
        1 | The tour takes in $six_cities and $city .
        1 | The board has $six_people and $person , all from $city .""",
    "many_people": "$six_people , $six_people , $six_people and $person_list",
    "six_people": """
        $person_list , $person , $person , $person_list , $person , $person
        $person , $person_list , $person_list , $person , $person , $person_list""",
    "six_firms": "$xfirm , $xfirm , $xfirm of $land_name , $firm , $firm , $xfirm",
    "six_cities": "$city , $city , $city in $land , $city , $city , $city",
    "ten_matches": "$five_matches ; $five_matches ; $five_matches",
    "five_matches": "$match_line ; $match_line ; $match_line ; $match_line ; $match_line",
    "ten_ranks": "$five_ranks , $five_ranks , $five_ranks , $five_ranks , $five_ranks",
    "five_ranks": "$rank_line , $rank_line , $rank_line , $rank_line , $brief",
    "ten_skies": "$five_skies ; $five_skies ; $five_skies ; $five_skies",
    "five_skies": "$sky_line ; $sky_line ; $sky_line ; $sky_line ; $sky_line",
}

TOPICS = ("politics", "business", "sport", "culture", "crime", "weather", "science")

# How the clauses of a topic become sentences; news.py puts each topic's name in place of TOPIC.
FORMS = """
    24 | ^ $TOPIC .
    7 | ^ $TOPIC , $TOPIC_aside .
    3 | ^ $TOPIC , $attrib .
    3 | ^ $TOPIC , while $TOPIC .
    1 | ^ $TOPIC , but $TOPIC .
    2 | ^ $TOPIC ; $TOPIC .
    4 | $dateline - ^ $TOPIC .
    1 | $dateline ( $wire ) - ^ $TOPIC .
    3 | ^ $reported that $TOPIC .
    9 | $TOPIC_headline
    6 | $TOPIC_quote
    1 | ( ^ $TOPIC . )
    """
